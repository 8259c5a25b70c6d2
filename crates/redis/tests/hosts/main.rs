//! Two processes are offered the same conversions, and each is sent once. Without the harness, as it starts itself.
//!
//! `cargo bench -p convert-sdk-redis` does the same with 100,000.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail where it stands")]

#[path = "../support/hosts.rs"]
mod hosts;
#[path = "../support/server.rs"]
mod server;

/// Enough to keep both busy for a while.
const CONVERSIONS: u32 = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((hosts::ROLE, rest)) = arguments.split_first().map(|(role, rest)| (role.as_str(), rest)) {
        return hosts::host(rest).unwrap();
    }
    let Some(server) = server::Redis::start(&[]) else { return };
    hosts::offer_twice(&server.url(), CONVERSIONS).unwrap();
    println!("{CONVERSIONS} conversions, each offered to two processes at once: each was sent once");
}
