//! An endpoint within the process, for benches that are not about the network.

use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError,
};
use crossbeam_channel::Receiver;

/// Takes every delivery at once and sends it nowhere.
#[derive(Default)]
pub(crate) struct Endpoint {
    /// Served for ever, each time as a new one.
    pub(crate) config: Option<String>,
    /// While its sender is there, no delivery is answered.
    pub(crate) hang: Option<Receiver<()>>,
}

impl Transport for Endpoint {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let body = self.config.clone().ok_or(TransportError::Unsupported)?;
        Ok(ConfigResponse::Fetched { body, etag: None })
    }

    fn send_tracking(&self, _: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        if let Some(end) = &self.hang {
            // Ends with the sender.
            let _ = end.recv();
        }
        Ok(TrackingResponse::new(200))
    }
}
