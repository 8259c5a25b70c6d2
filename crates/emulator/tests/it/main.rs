//! The emulator, driven by a plain HTTP client over real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod browser;
mod client;
mod config;
mod envelope;
mod faults;
mod framing;
mod outage;
mod page;
mod program;
mod raw;
mod record;
mod reload;
mod sample;
mod tls;
