//! The options of an SDK instance; every value is validated once, when it is built.

mod delivery;
mod error;
mod network;
mod proxy;
mod refresh;
mod sdk;

use std::fmt;

pub use delivery::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
pub use error::{InvalidOption, InvalidReason};
pub use network::{TransportConfig, TransportConfigBuilder};
pub use refresh::{RefreshConfig, RefreshConfigBuilder};
pub use sdk::{CacheLevel, SdkConfig, SdkConfigBuilder};

pub(crate) use network::{LONGEST_TIMEOUT, PROJECT_PLACEHOLDER};
pub(crate) use sdk::{Origin, Tuning};

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
