//! The stores against a real server. Without one, each test reports it and checks nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail where it stands")]

#[cfg(feature = "async")]
mod asynchronous;
mod commands;
mod connections;
mod control;
mod kinds;
#[path = "../support/offers.rs"]
mod offers;
mod outages;
mod proxy;
#[path = "../support/sdk.rs"]
mod sdk;
#[path = "../support/server.rs"]
mod server;
mod settings;
