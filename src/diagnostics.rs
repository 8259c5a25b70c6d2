//! Why something did or did not resolve.

use std::fmt;

use smol_str::SmolStr;

use crate::decide::{Explanation, Undecided};
use crate::results::FeatureOff;

/// Why something did or did not resolve. As text a sentence; [`as_str`](Self::as_str) and JSON have the official name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiagnosticReason {
    /// It resolves.
    Resolved,
    /// The visitor has no variation of the experience.
    Undecided(Undecided),
    /// The visitor does not have the feature.
    FeatureOff(FeatureOff),
    /// No goal has the key.
    GoalNotFound,
    /// No entity of the kind has the key.
    EntityNotFound,
}

/// Why an experience did or did not resolve for a visitor.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExperienceDiagnostic {
    /// The reason.
    pub reason: DiagnosticReason,
    /// The key that was asked for.
    pub experience_key: SmolStr,
    /// The environment that was asked for.
    pub environment: Option<SmolStr>,
    /// The first 16 hexadecimal digits of the visitor id's SHA-256, as in the Python SDK.
    pub visitor_ref: String,
    /// The visitor's bucket value, if this call bucketed them: a stored or forced decision has none.
    pub bucket_value: Option<u32>,
    /// The variation, if there is one.
    pub variation_key: Option<SmolStr>,
    /// Each check, step by step; `None` if there is no such experience.
    pub explanation: Option<Explanation>,
}

/// Why a feature did or did not resolve for a visitor.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FeatureDiagnostic {
    /// The reason.
    pub reason: DiagnosticReason,
    /// The key that was asked for.
    pub feature_key: SmolStr,
    /// The first 16 hexadecimal digits of the visitor id's SHA-256, as in the Python SDK.
    pub visitor_ref: String,
    /// The experience that carries the feature for this visitor.
    pub experience_key: Option<SmolStr>,
    /// Why each experience that could carry the feature does or does not, in config order.
    pub explanations: Vec<Explanation>,
}

/// Whether a goal resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GoalDiagnostic {
    /// The reason.
    pub reason: DiagnosticReason,
    /// The key that was asked for.
    pub goal_key: SmolStr,
    /// The goal's id.
    pub goal_id: Option<SmolStr>,
}

/// Whether an entity resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EntityDiagnostic {
    /// The reason.
    pub reason: DiagnosticReason,
    /// The kind that was asked for.
    pub entity_type: &'static str,
    /// The key that was asked for.
    pub entity_key: SmolStr,
}

impl DiagnosticReason {
    /// The name in the fixed set of the official Python SDK, in which `audience_mismatch` stands for every reason why
    /// an experience gives no variation. `config_withdrawn` is this SDK's own.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Undecided(why @ (Undecided::NotInConfig | Undecided::Withdrawn)) => why.code(),
            Self::Undecided(_) => "audience_mismatch",
            Self::FeatureOff(why) => why.code(),
            Self::GoalNotFound => "goal_not_found",
            Self::EntityNotFound => "entity_not_found",
        }
    }
}

impl fmt::Display for DiagnosticReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved => f.write_str("it resolves"),
            Self::Undecided(why) => write!(f, "{why}"),
            Self::FeatureOff(why) => write!(f, "{why}"),
            Self::GoalNotFound => f.write_str("the config has no such goal"),
            Self::EntityNotFound => f.write_str("the config has no such entity"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DiagnosticReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! resolved {
    ($($diagnostic:ty),+) => {$(
        impl $diagnostic {
            /// Whether it resolves.
            #[must_use]
            pub fn resolved(&self) -> bool {
                self.reason == DiagnosticReason::Resolved
            }
        }
    )+};
}
resolved!(ExperienceDiagnostic, FeatureDiagnostic, GoalDiagnostic, EntityDiagnostic);

/// A visitor's hash: the same in every SDK, and not reversible.
pub(crate) fn visitor_ref(visitor_id: &str) -> String {
    let digest = hmac_sha256::Hash::hash(visitor_id.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
