//! [`ReqwestTransport`]: the configs and deliveries of `convert-sdk` over reqwest, for applications that want all
//! their connections on their own tokio runtime. The SDK's built-in client is not needed beside it: depend on
//! `convert-sdk` with `default-features = false, features = ["async"]`.

mod spawned;
mod transport;

pub use transport::ReqwestTransport;
