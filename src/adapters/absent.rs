//! The client where there is none: without the feature `https`, and of offline cores.

#[cfg(not(feature = "https"))]
use crate::options::TransportConfig;
use crate::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};

/// Answers every call with `NoClient`.
pub(crate) struct NoClient;

#[cfg(not(feature = "https"))]
impl NoClient {
    pub(crate) fn new(_: TransportConfig) -> Self {
        Self
    }
}

impl ConfigSource for NoClient {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Err(TransportError::NoClient)
    }
}

impl EventSink for NoClient {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::NoClient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Core, SdkConfig};

    #[test]
    fn a_core_without_a_client_says_which_feature_it_lacks() {
        let config = SdkConfig::builder().sdk_key("k").build().unwrap();
        let core = Core::builder(config).transport(NoClient).build().unwrap();
        let text = core.initialize().unwrap_err().to_string();
        assert!(text.contains("enable the feature `https`"), "{text}");
    }
}
