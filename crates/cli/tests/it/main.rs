//! The `convert-cli` binary, run the way users run it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod diff;
mod doctor;
mod evaluate;
mod input;
mod outbox;
mod program;
mod shell;
mod split;
