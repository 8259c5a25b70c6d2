//! The calls that wait, none of which takes a thread.

use std::time::Duration;

use convert_sdk::{FlushError, InitializeError, delivery::FlushReport};

use crate::{Convert, Framework};

impl<F: Framework> Convert<F> {
    /// [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize): before the server takes requests,
    /// so that none is refused. A server that would rather start without decisions calls it in a task of
    /// its own.
    ///
    /// # Errors
    /// As [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize); it may be called again.
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        self.core().initialize().await
    }

    /// [`initialize`](Self::initialize) again and again, with this pause in between, until the core is
    /// ready: in a task of its own, for a server that would rather start without decisions than wait
    /// or fail. Each failure is logged. With direct data that is no config it never ends.
    ///
    /// # Errors
    /// The core is closed, and nothing else.
    pub async fn initialize_eventually(&self, pause: Duration) -> Result<(), InitializeError> {
        loop {
            match self.initialize().await {
                Err(InitializeError::Closed) => return Err(InitializeError::Closed),
                Err(error) => log::warn!("not ready yet: {error}"),
                Ok(()) => return Ok(()),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// [`AsyncCore::flush`](convert_sdk::AsyncCore::flush): where a request's events must have arrived
    /// before its response.
    ///
    /// # Errors
    /// As [`AsyncCore::flush`](convert_sdk::AsyncCore::flush).
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core().flush(timeout).await
    }

    /// [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown): after the last request has been
    /// answered. One deadline covers the last delivery and the end of the threads.
    ///
    /// # Errors
    /// As [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown).
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core().shutdown(timeout).await
    }
}
