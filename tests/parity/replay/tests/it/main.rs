//! The `replay` binary, run the way users run it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod input;
mod parts;
mod program;
mod scripts;
mod vectors;
