//! The `replay` binary, run as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod input;
mod parts;
mod program;
mod scripts;
mod vectors;
