//! Tests of the client over real HTTPS.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail where it stands")]

#[path = "../../../../tests/it/raw.rs"]
mod raw;
mod reqwest;
mod support;
