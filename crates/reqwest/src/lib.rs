//! [`ReqwestTransport`] fetches configs and delivers events for `convert-sdk` over reqwest, for applications that want
//! all connections on their own tokio runtime. The SDK's built-in client is then not needed: depend on `convert-sdk`
//! with `default-features = false, features = ["async"]`.

mod spawned;
mod transport;

pub use transport::ReqwestTransport;
