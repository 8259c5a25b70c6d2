//! The served config: parsed once, leniently, into the form that decisions use.

mod compile;
mod conditions;
mod entity;
mod experience;
mod index;
mod kind;
mod layout;
mod reader;
mod rules;
mod shape;
mod snapshot;
#[cfg(test)]
mod tests;
mod warning;
mod wire;

pub use compile::{Compiled, compile};
pub use conditions::Answers;
pub use entity::{CarriedFeature, Experience, Feature, RuledEntity, Variable, Variation};
pub use kind::{EntityKind, UnknownEntityKind};
pub use layout::{BucketOrder, CompileOptions};
pub use snapshot::{ChangeCounts, ConfigChanges, ConfigSnapshot, EntityCounts, SnapshotExt};
pub use warning::{ConfigError, ConfigWarning};

pub(crate) use entity::{Audience, Environment, Exclusion, Place, Standing};
pub(crate) use layout::{Edge, Layout};
pub(crate) use rules::{Item, ItemPath, Next, Operand, RuleSet, Test};
