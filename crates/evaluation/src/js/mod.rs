//! The JavaScript semantics that decisions depend on: strings, numbers, casts, patterns.

pub(crate) mod cast;
pub(crate) mod number;
pub(crate) mod regex;
pub(crate) mod text;
