//! The relay between real SDK requests, a real Redis, and the emulator as Convert. Without `redis-server`,
//! each test says so and checks nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail where it stands")]

mod browser;
mod configs;
mod conversions;
mod events;
mod hostile;
mod limits;
mod operation;
mod projects;
mod proxy;
#[path = "../../../redis/tests/support/server.rs"]
mod server;
mod streams;
mod support;
mod tls;
