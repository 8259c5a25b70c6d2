//! The served config: parsed once, leniently, into the shape in which decisions are made.

mod cell;
mod compile;
mod entity;
mod experience;
mod index;
mod kind;
mod layout;
mod rules;
mod shape;
mod snapshot;
#[cfg(test)]
mod tests;
mod warning;
mod wire;

pub use kind::{EntityKind, UnknownEntityKind};
pub use snapshot::{ChangeCounts, ConfigChanges, ConfigSnapshot, EntityCounts};
pub use warning::{ConfigError, ConfigWarning};

pub use layout::BucketOrder;

pub(crate) use cell::SnapshotCell;
pub(crate) use compile::CompileOptions;
pub(crate) use entity::{
    Audience, CarriedFeature, Environment, Experience, Feature, Place, RuledEntity, Standing, Variation,
};
pub(crate) use layout::{Edge, Layout};
pub(crate) use rules::{Item, ItemPath, Next, Operand, RuleSet, Test};
