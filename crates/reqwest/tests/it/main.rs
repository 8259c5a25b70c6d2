//! Tests of the client over real HTTPS.

#[path = "../../../../tests/it/raw.rs"]
mod raw;
mod reqwest;
mod support;
