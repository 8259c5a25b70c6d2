//! The kinds of entity, as callers name them.

use std::fmt;

use smol_str::SmolStr;

/// The kinds of entity that a config holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// An experience: an A/B test, a rollout or a personalization.
    Experience,
    /// A feature with typed variables.
    Feature,
    /// A conversion goal.
    Goal,
    /// An audience: rules on the visitor.
    Audience,
    /// A custom segment.
    Segment,
    /// A location: rules on the place of the call.
    Location,
    /// A variation of any experience.
    Variation,
}

impl EntityKind {
    /// The singular name, such as `experience`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experience => "experience",
            Self::Feature => "feature",
            Self::Goal => "goal",
            Self::Audience => "audience",
            Self::Segment => "segment",
            Self::Location => "location",
            Self::Variation => "variation",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The string names no kind of entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of entity `{0}`")]
pub struct UnknownEntityKind(SmolStr);

impl UnknownEntityKind {
    /// A stable name for logs and dashboards: always `"unknown_entity_kind"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "unknown_entity_kind"
    }
}

/// Accepts singular and plural names: `goal`, `goals`.
impl std::str::FromStr for EntityKind {
    type Err = UnknownEntityKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "experience" | "experiences" => Self::Experience,
            "feature" | "features" => Self::Feature,
            "goal" | "goals" => Self::Goal,
            "audience" | "audiences" => Self::Audience,
            "segment" | "segments" => Self::Segment,
            "location" | "locations" => Self::Location,
            "variation" | "variations" => Self::Variation,
            other => return Err(UnknownEntityKind(other.into())),
        })
    }
}
