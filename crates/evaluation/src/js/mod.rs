//! The JavaScript value semantics that decisions rest on: text forms, numbers, casts, patterns.

pub(crate) mod cast;
pub(crate) mod number;
pub(crate) mod regex;
pub(crate) mod text;
