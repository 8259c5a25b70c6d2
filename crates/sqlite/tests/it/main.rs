//! The store against real files and processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail where it stands")]

mod cost;
mod damage;
mod files;
#[path = "../support/folder.rs"]
mod folder;
mod outbox;
mod readme;
mod restart;
#[path = "../../../redis/tests/support/sdk.rs"]
mod sdk;
mod store;
mod workers;
