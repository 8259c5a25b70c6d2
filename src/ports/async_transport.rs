//! The network boundary for those who bring an asynchronous client.

use super::{ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError};
use crate::threads::{BoxFuture, Driver, Stopped, deadline_after};

/// As [`Transport`], over an asynchronous client of the application's. Put it in with
/// [`CoreBuilder::async_transport`](crate::CoreBuilder::async_transport).
///
/// The SDK starts no runtime: each future is polled on one of the SDK's own threads, which sleeps until
/// it is woken. A client that needs to be polled within its runtime (tokio's sockets and timers do) has
/// to carry a handle to it and spawn its work there, as
#[cfg_attr(feature = "async-reqwest", doc = "`ReqwestTransport` does.")]
#[cfg_attr(not(feature = "async-reqwest"), doc = "`ReqwestTransport` (feature `async-reqwest`) does.")]
/// Deliveries then make progress only while that runtime runs: a current-thread runtime has to be
/// inside its `block_on`, which awaiting [`AsyncCore::flush`](crate::AsyncCore::flush) is.
///
/// A future is dropped when the request's timeout is over ([`TransportError::Timeout`]) and when the
/// SDK closes ([`TransportError::Interrupted`]). A panic is caught and counts as
/// [`TransportError::Panicked`]. At most one fetch of the config and one of a previewed
/// experience come at a time, deliveries from
/// [as many lanes as configured](crate::delivery::DeliveryConfigBuilder::lanes).
///
/// ```
/// use convert_sdk::{Core, SdkConfig, ports::{AsyncTransport, BoxFuture, ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, TransportError}};
///
/// struct Shelf;
///
/// impl AsyncTransport for Shelf {
///     fn fetch_config<'a>(
///         &'a self,
///         _: &'a ConfigRequest<'a>,
///     ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
///         let body = include_str!("../../examples/shop.json").to_owned();
///         Box::pin(async move { Ok(ConfigResponse::Fetched { body, etag: None }) })
///     }
///
///     fn send_tracking<'a>(
///         &'a self,
///         _: &'a TrackingRequest<'a>,
///     ) -> BoxFuture<'a, Result<TrackingResponse, TransportError>> {
///         Box::pin(async { Ok(TrackingResponse::new(200)) })
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").build()?;
/// let core = Core::builder(config).async_transport(Shelf).build()?.to_async();
/// core.initialize().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait AsyncTransport: Send + Sync + 'static {
    /// As [`Transport::fetch_config`].
    fn fetch_config<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>>;

    /// As [`Transport::fetch_experience`]. The default cannot fetch.
    fn fetch_experience<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
        experience_id: &'a str,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        let _ = (request, experience_id);
        Box::pin(async { Err(TransportError::Unsupported) })
    }

    /// As [`Transport::send_tracking`]. Answer as soon as the status is there: a future that is dropped while
    /// it still reads a body takes the status with it, and the events are sent again.
    fn send_tracking<'a>(
        &'a self,
        request: &'a TrackingRequest<'a>,
    ) -> BoxFuture<'a, Result<TrackingResponse, TransportError>>;

    /// As [`Transport::after_fork`]. A runtime that runs on threads of the parent's does not run in the
    /// child: where the client needs one, the child's core needs a transport made there.
    fn after_fork(&self) {}
}

/// An asynchronous transport, as the actors call it.
pub(crate) struct DrivenTransport<T> {
    transport: T,
    driver: Driver,
}

impl<T: AsyncTransport> DrivenTransport<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, driver: Driver::new() }
    }

    fn run<R>(
        &self,
        future: BoxFuture<'_, Result<R, TransportError>>,
        timeout: std::time::Duration,
    ) -> Result<R, TransportError> {
        self.driver.block_on(future, deadline_after(timeout)).unwrap_or_else(|stopped| {
            Err(match stopped {
                Stopped::Late => TransportError::Timeout("waiting for the answer"),
                Stopped::Interrupted => TransportError::Interrupted,
            })
        })
    }
}

impl<T: AsyncTransport> Transport for DrivenTransport<T> {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.run(self.transport.fetch_config(request), request.timeout)
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.run(self.transport.fetch_experience(request, experience_id), request.timeout)
    }

    fn send_tracking(&self, request: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        self.run(self.transport.send_tracking(request), request.timeout)
    }

    fn interrupt(&self) {
        self.driver.interrupt();
    }

    fn after_fork(&self) {
        self.transport.after_fork();
    }
}
