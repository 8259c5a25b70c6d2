//! An in-process endpoint, for benches that are not about the network.

use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use crossbeam_channel::Receiver;

/// Accepts every delivery at once and sends it nowhere.
#[derive(Default)]
pub(crate) struct Endpoint {
    /// The config to serve on every fetch, each time as a new one.
    pub(crate) config: Option<String>,
    /// No delivery is answered as long as its sender exists.
    pub(crate) hang: Option<Receiver<()>>,
}

impl ConfigSource for Endpoint {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let body = self.config.clone().ok_or(TransportError::Unsupported)?;
        Ok(ConfigResponse::Fetched { body, etag: None })
    }
}

impl EventSink for Endpoint {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        if let Some(end) = &self.hang {
            // Ends when the sender is dropped.
            let _ = end.recv();
        }
        Ok(Receipt::default())
    }
}
