//! The config in place, and what a config is compiled to.

#[cfg(feature = "threads")]
mod cell;

#[cfg(feature = "threads")]
pub(crate) use cell::SnapshotCell;
pub(crate) use convert_evaluation::config::{
    BucketOrder, CarriedFeature, CompileOptions, ConfigChanges, ConfigError, ConfigSnapshot, EntityKind,
    Experience, Feature, SnapshotExt, Variation, compile,
};
