//! The default client where there is no built-in one.

use crate::options::TransportConfig;
use crate::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};

/// Answers every call with `Unsupported`.
pub(crate) struct NoClient;

impl NoClient {
    pub(crate) fn new(_: TransportConfig) -> Self {
        Self
    }
}

impl ConfigSource for NoClient {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Err(TransportError::Unsupported)
    }
}

impl EventSink for NoClient {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::Unsupported))
    }
}
