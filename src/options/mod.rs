//! What an SDK instance is made from; every value is checked once, when it is built.

mod delivery;
mod error;
mod network;
mod proxy;
mod refresh;
mod sdk;
mod secret;

pub use delivery::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
pub use error::{InvalidOption, InvalidReason};
pub use network::{TransportConfig, TransportConfigBuilder};
pub use refresh::{RefreshConfig, RefreshConfigBuilder};
pub use sdk::{CacheLevel, SdkConfig, SdkConfigBuilder};

pub(crate) use network::{LONGEST_TIMEOUT, PROJECT_PLACEHOLDER};
pub(crate) use sdk::{Source, Tuning};
pub(crate) use secret::Secret;
