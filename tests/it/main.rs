//! The integration tests, one binary: a module for each topic, over real sockets, a scripted transport, or no network at all.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail where it stands"
)]

mod allocations;
#[cfg(feature = "async")]
mod asynchronous;
mod bounds;
mod bucket_order;
mod child;
mod config_options;
mod delivery;
mod dependencies;
mod errors;
mod events;
mod flush;
mod handles;
mod initialize;
mod layers;
mod ledger;
mod naive;
mod network;
mod odd_configs;
mod preview;
#[cfg(unix)]
mod process;
mod properties;
mod raw;
mod redaction;
mod refresh;
mod results;
mod shutdown;
mod state;
mod stores;
mod storms;
mod support;
mod surface;
mod threads;
mod tracking;
mod vectors;
mod waiting;
mod wire;
