//! The config as served: lenient types without logic, which accept odd values, so that only a
//! malformed entity fails.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::shape::{ItemsWire, ListWire, ObjectWire, PairsWire, Shape, ShapeVisitor, ValueWire};
use crate::attributes::AttributeValue;
use crate::js::text::truthy;

/// The config document. Implemented by hand, because for a repeated section the last one wins, as
/// in JavaScript, where a derived implementation would fail the whole config.
#[derive(Default)]
pub(super) struct RootWire<'a> {
    pub(super) account_id: ValueWire,
    pub(super) project: ObjectWire<ProjectWire>,
    pub(super) error: ValueWire,
    pub(super) archived_experiences: ListWire<ValueWire>,
    pub(super) experiences: ListWire<&'a RawValue>,
    pub(super) audiences: ListWire<&'a RawValue>,
    pub(super) locations: ListWire<&'a RawValue>,
    pub(super) segments: ListWire<&'a RawValue>,
    pub(super) features: ListWire<&'a RawValue>,
    pub(super) goals: ListWire<&'a RawValue>,
}

#[derive(serde::Deserialize)]
pub(super) struct ProjectWire {
    #[serde(default)]
    pub(super) id: ValueWire,
}

/// An experience, its variations parsed or still as text.
#[derive(serde::Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>"))]
pub(super) struct ExperienceWire<V> {
    #[serde(default)]
    pub(super) id: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default)]
    pub(super) name: ValueWire,
    #[serde(default)]
    pub(super) environment: ValueWire,
    #[serde(default)]
    pub(super) locations: ListWire<ValueWire>,
    #[serde(default)]
    pub(super) site_area: RulesWire,
    #[serde(default)]
    pub(super) audiences: ListWire<ValueWire>,
    #[serde(default)]
    pub(super) settings: ObjectWire<SettingsWire>,
    #[serde(default)]
    pub(super) version: ValueWire,
    #[serde(default)]
    pub(super) variations: ListWire<V>,
}

#[derive(serde::Deserialize)]
pub(super) struct SettingsWire {
    #[serde(default)]
    pub(super) matching_options: ObjectWire<MatchingOptionsWire>,
}

#[derive(serde::Deserialize)]
pub(super) struct MatchingOptionsWire {
    #[serde(default)]
    pub(super) audiences: ValueWire,
}

#[derive(serde::Deserialize)]
pub(super) struct VariationWire<'a> {
    #[serde(default)]
    pub(super) id: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default)]
    pub(super) name: ValueWire,
    #[serde(default)]
    pub(super) traffic_allocation: ValueWire,
    #[serde(default)]
    pub(super) status: ValueWire,
    #[serde(default, borrow)]
    pub(super) changes: ItemsWire<ObjectWire<ChangeWire<'a>>>,
}

#[derive(serde::Deserialize)]
pub(super) struct ChangeWire<'a> {
    #[serde(default, rename = "type")]
    pub(super) kind: ValueWire,
    /// Parsed only for the one type of change that matters; the others hold whole scripts.
    #[serde(default, borrow)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
pub(super) struct FeatureChangeWire {
    #[serde(default)]
    pub(super) feature_id: ValueWire,
    #[serde(default)]
    pub(super) variables_data: PairsWire,
}

/// An audience, a location, a segment or a goal.
#[derive(serde::Deserialize)]
pub(super) struct RuledWire {
    #[serde(default)]
    pub(super) id: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default, rename = "type")]
    pub(super) kind: ValueWire,
    #[serde(default)]
    pub(super) rules: RulesWire,
}

/// What is still read of an entity whose other fields are malformed.
#[derive(serde::Deserialize)]
pub(super) struct IdentityWire {
    #[serde(default)]
    pub(super) id: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
}

#[derive(serde::Deserialize)]
pub(super) struct FeatureWire {
    #[serde(default)]
    pub(super) id: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default)]
    pub(super) name: ValueWire,
    #[serde(default)]
    pub(super) variables: ListWire<ObjectWire<VariableWire>>,
}

#[derive(serde::Deserialize)]
pub(super) struct VariableWire {
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default, rename = "type")]
    pub(super) kind: ValueWire,
}

/// A rule set, and whether it is truthy in JavaScript: an empty list has no rules but is truthy.
#[derive(Default)]
pub(super) struct RulesWire {
    pub(super) set: Option<OrWire>,
    pub(super) truthy: bool,
}

#[derive(serde::Deserialize)]
pub(super) struct OrWire {
    #[serde(default, rename = "OR")]
    pub(super) branches: ListWire<ObjectWire<AndWire>>,
}

#[derive(serde::Deserialize)]
pub(super) struct AndWire {
    #[serde(default, rename = "AND")]
    pub(super) branches: ListWire<ObjectWire<OrWhenWire>>,
}

#[derive(serde::Deserialize)]
pub(super) struct OrWhenWire {
    #[serde(default, rename = "OR_WHEN")]
    pub(super) items: ListWire<ObjectWire<ItemWire>>,
}

#[derive(serde::Deserialize)]
pub(super) struct ItemWire {
    #[serde(default)]
    pub(super) rule_type: ValueWire,
    #[serde(default)]
    pub(super) key: ValueWire,
    #[serde(default)]
    pub(super) value: ValueWire,
    #[serde(default)]
    pub(super) matching: ObjectWire<MatchingWire>,
}

#[derive(serde::Deserialize)]
pub(super) struct MatchingWire {
    #[serde(default)]
    pub(super) match_type: ValueWire,
    #[serde(default)]
    pub(super) negated: ValueWire,
}

impl<'de> Deserialize<'de> for RulesWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de> Shape<'de> for RulesWire {
    fn scalar(value: AttributeValue) -> Self {
        Self { set: None, truthy: truthy(&value) }
    }

    fn object<A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        let set = OrWire::deserialize(MapAccessDeserializer::new(entries))?;
        Ok(Self { set: Some(set), truthy: true })
    }
}

impl<V> ExperienceWire<V> {
    /// Separates the experience from its variations.
    pub(super) fn split(self) -> (ExperienceWire<()>, Vec<V>) {
        let Self {
            id,
            key,
            name,
            environment,
            locations,
            site_area,
            audiences,
            settings,
            version,
            variations,
        } = self;
        let without = ExperienceWire {
            id,
            key,
            name,
            environment,
            locations,
            site_area,
            audiences,
            settings,
            version,
            variations: ListWire::Absent,
        };
        (without, variations.into_vec())
    }
}

/// The variations of an experience as text, to look at one of them.
#[derive(serde::Deserialize)]
pub(super) struct VariationsWire<'a> {
    #[serde(default, borrow)]
    pub(super) variations: ListWire<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RootWire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RootVisitor<'a>(PhantomData<RootWire<'a>>);

        impl<'de: 'a, 'a> Visitor<'de> for RootVisitor<'a> {
            type Value = RootWire<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a config object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut root = RootWire::default();
                while let Some(name) = entries.next_key::<SmolStr>()? {
                    match name.as_str() {
                        "account_id" => root.account_id = entries.next_value()?,
                        "project" => root.project = entries.next_value()?,
                        "error" => root.error = entries.next_value()?,
                        "archived_experiences" => root.archived_experiences = entries.next_value()?,
                        "experiences" => root.experiences = entries.next_value()?,
                        "audiences" => root.audiences = entries.next_value()?,
                        "locations" => root.locations = entries.next_value()?,
                        "segments" => root.segments = entries.next_value()?,
                        "features" => root.features = entries.next_value()?,
                        "goals" => root.goals = entries.next_value()?,
                        _ => drop(entries.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(root)
            }
        }

        deserializer.deserialize_map(RootVisitor(PhantomData))
    }
}
