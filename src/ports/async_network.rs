//! Where configs come from and events go, for applications with an asynchronous client.

use std::sync::Arc;

use super::{BoxFuture, ConfigRequest, ConfigResponse, DeliveryFailure, EventBatch, Receipt, TransportError};

/// The asynchronous [`ConfigSource`](crate::ports::ConfigSource). Install it with
/// [`CoreBuilder::async_config_source`](crate::CoreBuilder::async_config_source).
///
/// The SDK starts no runtime: each future is polled on one of the SDK's own threads, which sleeps until it is
/// woken. A client that must be polled inside its runtime (as tokio's sockets and timers must) holds a handle to it
/// and spawns its work there, as `ReqwestTransport` in the crate `convert-sdk-reqwest` does.
///
/// A future is dropped when the request times out ([`TransportError::Timeout`]) or the SDK closes
/// ([`TransportError::Interrupted`]). A panic is caught and reported as [`TransportError::Panicked`].
///
/// ```
/// use convert_sdk::{Core, SdkConfig};
/// use convert_sdk::ports::{AsyncConfigSource, BoxFuture, ConfigRequest, ConfigResponse, TransportError};
///
/// struct Shelf {
///     config_json: String,
/// }
///
/// impl AsyncConfigSource for Shelf {
///     fn fetch_config<'a>(
///         &'a self,
///         _: &'a ConfigRequest<'a>,
///     ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
///         let body = self.config_json.clone();
///         Box::pin(async move { Ok(ConfigResponse::Fetched { body, etag: None }) })
///     }
/// }
///
/// # let config_json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json")).to_owned();
/// # futures_executor::block_on(async {
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").build()?;
/// let core = Core::builder(config).async_config_source(Shelf { config_json }).build()?.to_async();
/// core.initialize().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait AsyncConfigSource: Send + Sync + 'static {
    /// Like [`ConfigSource::fetch_config`](crate::ports::ConfigSource::fetch_config).
    fn fetch_config<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>>;

    /// Like [`ConfigSource::fetch_experience`](crate::ports::ConfigSource::fetch_experience). Unsupported by default.
    fn fetch_experience<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
        experience_id: &'a str,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        let _ = (request, experience_id);
        Box::pin(async { Err(TransportError::Unsupported) })
    }

    /// Like [`ConfigSource::after_fork`](crate::ports::ConfigSource::after_fork). A runtime whose threads belong to the
    /// parent does not run in the child: a client that needs one must be recreated there.
    fn after_fork(&self) {}
}

/// The asynchronous [`EventSink`](crate::ports::EventSink). Install it with
/// [`CoreBuilder::async_event_sink`](crate::CoreBuilder::async_event_sink).
///
/// Polled like an [`AsyncConfigSource`]. If the work runs on the application's runtime, deliveries make progress only
/// while that runtime runs: a current-thread runtime must be inside `block_on`, for instance awaiting
/// [`AsyncCore::flush`](crate::AsyncCore::flush).
///
/// ```
/// use convert_sdk::{Core, SdkConfig};
/// use convert_sdk::ports::{AsyncEventSink, BoxFuture, DeliveryFailure, EventBatch, Receipt};
///
/// struct Printer;
///
/// impl AsyncEventSink for Printer {
///     fn deliver<'a>(
///         &'a self,
///         batch: &'a EventBatch<'a>,
///     ) -> BoxFuture<'a, Result<Receipt, DeliveryFailure>> {
///         Box::pin(async {
///             println!("{} events", batch.events);
///             Ok(Receipt::default())
///         })
///     }
/// }
///
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").build()?;
/// let core = Core::builder(config).async_event_sink(Printer).build()?.to_async();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AsyncEventSink: Send + Sync + 'static {
    /// Like [`EventSink::deliver`](crate::ports::EventSink::deliver). Return as soon as the outcome is known: if the
    /// future is dropped while it is still reading a body, the outcome is lost with it and the events are sent again.
    fn deliver<'a>(&'a self, batch: &'a EventBatch<'a>) -> BoxFuture<'a, Result<Receipt, DeliveryFailure>>;

    /// Like [`AsyncConfigSource::after_fork`].
    fn after_fork(&self) {}
}

impl<S: AsyncConfigSource + ?Sized> AsyncConfigSource for Arc<S> {
    fn fetch_config<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        (**self).fetch_config(request)
    }

    fn fetch_experience<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
        experience_id: &'a str,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        (**self).fetch_experience(request, experience_id)
    }

    fn after_fork(&self) {
        (**self).after_fork();
    }
}

impl<S: AsyncEventSink + ?Sized> AsyncEventSink for Arc<S> {
    fn deliver<'a>(&'a self, batch: &'a EventBatch<'a>) -> BoxFuture<'a, Result<Receipt, DeliveryFailure>> {
        (**self).deliver(batch)
    }

    fn after_fork(&self) {
        (**self).after_fork();
    }
}
