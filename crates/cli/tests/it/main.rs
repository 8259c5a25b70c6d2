//! The `convert` binary, run as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod evaluate;
mod input;
mod program;
mod split;
