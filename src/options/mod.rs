//! The options of an SDK instance; every value is validated once, when it is built.

mod delivery;
mod environment;
mod error;
mod network;
mod proxy;
mod refresh;
mod sdk;
mod upkeep;

use std::fmt;

pub use delivery::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
pub use environment::EnvironmentError;
pub use error::{InvalidOption, InvalidReason};
pub use network::{TransportConfig, TransportConfigBuilder};
pub use refresh::{RefreshConfig, RefreshConfigBuilder};
pub use sdk::{CacheLevel, SdkConfig, SdkConfigBuilder};

pub(crate) use network::{AuthSecret, LONGEST_TIMEOUT, PROJECT_PLACEHOLDER};
pub(crate) use sdk::{Origin, Tuning};
pub(crate) use upkeep::{ConfigGate, Upkeep};

/// A string that is never printed: an SDK key, a bearer secret, a debug token. Its `Debug` shows only that there is
/// one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The string itself, for the one place that must send it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
