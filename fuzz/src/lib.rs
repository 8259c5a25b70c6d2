//! What the fuzz targets share: values from bytes, edited configs, and a core's results as text.
#![forbid(unsafe_code)]

mod answers;
mod edits;
mod values;
mod visitors;

pub use answers::{agree, agree_about, offline};
pub use edits::edited;
pub use values::{attribute, json, text};
pub use visitors::Visitor;

/// A small config as served, with a feature, an audience of each kind and two goals.
pub const SHOP: &str = include_str!("../../examples/shop.json");
