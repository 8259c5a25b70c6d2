//! Convert Experiences for Rust.
#![warn(missing_docs)]

mod attributes;

pub use attributes::{AttributeValue, Attributes};
