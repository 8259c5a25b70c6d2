//! Convert Experiences for Rust.
#![warn(missing_docs)]

mod attributes;
mod config;
mod decide;
mod js;
mod preview;

pub use attributes::{AttributeValue, Attributes};
pub use config::{
    BucketOrder, ChangeCounts, ConfigChanges, ConfigError, ConfigSnapshot, ConfigWarning, EntityCounts,
    EntityKind, UnknownEntityKind,
};
pub use decide::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};
pub use preview::{PreviewParam, parse_preview_param};
