//! The middleware and the extractor, without sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod readme;
mod requests;
