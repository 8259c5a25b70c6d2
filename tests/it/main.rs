//! The integration tests as one binary, a module per topic, over real sockets, a scripted transport or no network.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail where it stands"
)]

mod allocations;
#[cfg(feature = "async")]
mod asynchronous;
mod batch_ids;
mod bounds;
mod bucket_order;
mod carrier;
mod child;
mod config_cache;
mod config_options;
mod delivery;
mod dependencies;
mod errors;
mod events;
mod flush;
mod handles;
mod hooks;
mod initialize;
mod layers;
mod ledger;
mod naive;
mod network;
mod odd_configs;
mod offline;
mod preview;
#[cfg(unix)]
mod process;
mod properties;
mod pump;
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
mod telemetry;
#[cfg(feature = "testing")]
mod testing;
mod threads;
mod tracking;
mod vectors;
mod waiting;
mod wire;
