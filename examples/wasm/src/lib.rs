//! The SDK in a browser: the page asks in JSON, gives turns, and carries requests by `fetch`.
#![cfg(target_family = "wasm")]

mod host;
mod sdk;
