//! The calls that wait, made on tokio's threads for blocking work.

use std::time::Duration;

use convert_sdk::{Core, FlushError, FlushReport, InitializeError};

use crate::{Convert, Framework};

impl<F: Framework> Convert<F> {
    /// [`Core::initialize`]: before the server takes requests, so that none is refused. A server
    /// that would rather start without decisions calls it in a task of its own.
    ///
    /// # Errors
    /// As [`Core::initialize`]; it may be called again.
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        off_thread(self.core(), Core::initialize).await
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

    /// [`Core::flush`]: where a request's events must have arrived before its response.
    ///
    /// # Errors
    /// As [`Core::flush`].
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        off_thread(self.core(), move |core| core.flush(timeout)).await
    }

    /// [`Core::shutdown`]: after the last request has been answered. One deadline covers the last
    /// delivery and the end of the threads.
    ///
    /// # Errors
    /// As [`Core::shutdown`].
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        off_thread(self.core(), move |core| core.shutdown(timeout)).await
    }
}

async fn off_thread<T: Send + 'static>(core: &Core, call: impl Fn(&Core) -> T + Clone + Send + 'static) -> T {
    let (owned, elsewhere) = (core.clone(), call.clone());
    match tokio::task::spawn_blocking(move || elsewhere(&owned)).await {
        Ok(answer) => answer,
        // The runtime takes no more work because it ends: nobody is left whom a wait would hold up.
        Err(_) => call(core),
    }
}
