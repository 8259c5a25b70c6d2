//! Wraps every source and sink: bounds what it returns, and ends its calls on an interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use crate::caught::PanicGuard;
use crate::http::delivery_answer;

const WHAT: &str = "the transport";
/// The most bytes of a source's or sink's message that are kept.
const MAX_REASON: usize = 1024;
/// A longer ETag is not sent back, so each fetch returns the whole config.
const MAX_ETAG: usize = 8 * 1024;

/// Any source, including the built-in one. The caller catches panics in its fetches.
pub(crate) struct GuardedSource {
    gate: Gate<dyn ConfigSource>,
    /// Limit on a body, whoever read it.
    max_response_bytes: u64,
}

/// Any sink, including the built-in one. The caller catches panics in its deliveries.
pub(crate) struct GuardedSink(Gate<dyn EventSink>);

/// Lets no call start after an interrupt, as nothing would end it.
struct Gate<P: ?Sized> {
    port: Arc<P>,
    guard: PanicGuard,
    interrupted: Interrupted,
}

/// Whether a close has interrupted a core's source or its sink. They share it, since one client can be both: what ends the
/// one's calls then ends the other's.
pub(crate) type Interrupted = Arc<AtomicBool>;

impl<P: ?Sized> Gate<P> {
    fn new(port: Arc<P>, guard: PanicGuard, interrupted: &Interrupted) -> Self {
        Self { port, guard, interrupted: Arc::clone(interrupted) }
    }

    fn begin(&self) -> Result<&P, TransportError> {
        if self.is_interrupted() { Err(TransportError::Interrupted) } else { Ok(&self.port) }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// A call ended by the interrupt is reported as such, whatever error the client returned.
    fn reported(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Broken(_) | TransportError::Protocol if self.is_interrupted() => {
                TransportError::Interrupted
            }
            error => shortened(error),
        }
    }

    fn interrupt(&self, interrupt: impl FnOnce(&P)) {
        self.interrupted.store(true, Ordering::Release);
        self.guard.caught(WHAT, || interrupt(&self.port));
    }

    fn after_fork(&self, after_fork: impl FnOnce(&P)) {
        self.interrupted.store(false, Ordering::Release);
        self.guard.caught(WHAT, || after_fork(&self.port));
    }
}

impl GuardedSource {
    pub(crate) fn new(
        source: Arc<dyn ConfigSource>,
        guard: PanicGuard,
        max_response_bytes: u64,
        interrupted: &Interrupted,
    ) -> Self {
        Self { gate: Gate::new(source, guard, interrupted), max_response_bytes }
    }

    fn bounded(
        &self,
        answer: Result<ConfigResponse, TransportError>,
    ) -> Result<ConfigResponse, TransportError> {
        bounded(answer.map_err(|error| self.gate.reported(error))?, self.max_response_bytes)
    }
}

/// A response without what is too long to be kept.
pub(crate) fn bounded(
    response: ConfigResponse,
    max_response_bytes: u64,
) -> Result<ConfigResponse, TransportError> {
    match response {
        ConfigResponse::NotModified => Ok(ConfigResponse::NotModified),
        ConfigResponse::Fetched { body, .. } if body.len() as u64 > max_response_bytes => {
            Err(TransportError::TooLarge(max_response_bytes))
        }
        ConfigResponse::Fetched { body, etag } => {
            Ok(ConfigResponse::Fetched { body, etag: etag.filter(|etag| etag.len() <= MAX_ETAG) })
        }
    }
}

impl ConfigSource for GuardedSource {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.bounded(self.gate.begin()?.fetch_config(request))
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.bounded(self.gate.begin()?.fetch_experience(request, experience_id))
    }

    fn interrupt(&self) {
        self.gate.interrupt(|source| source.interrupt());
    }

    fn after_fork(&self) {
        self.gate.after_fork(|source| source.after_fork());
    }
}

impl GuardedSink {
    pub(crate) fn new(sink: Arc<dyn EventSink>, guard: PanicGuard, interrupted: &Interrupted) -> Self {
        Self(Gate::new(sink, guard, interrupted))
    }
}

impl EventSink for GuardedSink {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let sink = self.0.begin().map_err(DeliveryFailure::NotSent)?;
        match sink.deliver(batch) {
            // A client that passes on whatever status it got has not necessarily delivered anything.
            Ok(Receipt { status: Some(status) }) => delivery_answer(status, None),
            Ok(receipt) => Ok(receipt),
            Err(DeliveryFailure::Unknown(error)) => Err(DeliveryFailure::Unknown(self.0.reported(error))),
            Err(DeliveryFailure::NotSent(error)) => Err(DeliveryFailure::NotSent(self.0.reported(error))),
            Err(refused @ DeliveryFailure::Refused(_)) => Err(refused),
        }
    }

    fn interrupt(&self) {
        self.0.interrupt(|sink| sink.interrupt());
    }

    fn after_fork(&self) {
        self.0.after_fork(|sink| sink.after_fork());
    }
}

/// Errors are kept in the ledger and logged, so their text needs a bound.
pub(crate) fn shortened(error: TransportError) -> TransportError {
    let shorten = |text: Box<str>| {
        if text.len() <= MAX_REASON {
            return text;
        }
        let end = (0..=MAX_REASON).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text[..end].into()
    };
    match error {
        TransportError::Other(text) => TransportError::Other(shorten(text)),
        TransportError::Tls(text) => TransportError::Tls(shorten(text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::time::Duration;

    use super::*;

    const FETCH: ConfigRequest<'static> = ConfigRequest::new("", Duration::ZERO);
    const BATCH: EventBatch<'static> = EventBatch::new("", "", 0, b"", Duration::ZERO);

    fn source(source: impl ConfigSource) -> GuardedSource {
        GuardedSource::new(Arc::new(source), PanicGuard::default(), 1, &Interrupted::default())
    }

    fn sink(sink: impl EventSink) -> GuardedSink {
        GuardedSink::new(Arc::new(sink), PanicGuard::default(), &Interrupted::default())
    }

    struct Taker;

    impl EventSink for Taker {
        fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
            Ok(Receipt::default())
        }
    }

    /// Fails on an interrupt, if it has something to interrupt.
    struct Cut<P> {
        cause: TransportError,
        by: Weak<P>,
    }

    impl ConfigSource for Cut<GuardedSource> {
        fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
            if let Some(guarded) = self.by.upgrade() {
                guarded.interrupt();
            }
            Err(self.cause.clone())
        }
    }

    impl EventSink for Cut<GuardedSink> {
        fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
            if let Some(guarded) = self.by.upgrade() {
                guarded.interrupt();
            }
            Err(DeliveryFailure::Unknown(self.cause.clone()))
        }
    }

    #[test]
    fn an_interrupted_call_is_reported_as_interrupted() {
        use TransportError::{Broken, Connect, Interrupted, Protocol};
        let eof = Broken(std::io::ErrorKind::UnexpectedEof);
        for (cause, reported) in [(&eof, Interrupted), (&Protocol, Interrupted), (&Connect, Connect)] {
            let fetch = Arc::new_cyclic(|by| source(Cut { cause: cause.clone(), by: Weak::clone(by) }));
            assert_eq!(fetch.fetch_config(&FETCH), Err(reported.clone()));
            let delivery = Arc::new_cyclic(|by| sink(Cut { cause: cause.clone(), by: Weak::clone(by) }));
            assert_eq!(delivery.deliver(&BATCH), Err(DeliveryFailure::Unknown(reported)));
            let by_itself = sink(Cut { cause: cause.clone(), by: Weak::new() });
            assert_eq!(by_itself.deliver(&BATCH), Err(DeliveryFailure::Unknown(cause.clone())));
        }
    }

    #[test]
    fn an_interrupt_of_the_source_is_why_the_sinks_calls_end() {
        struct OfBoth(GuardedSource);
        impl EventSink for OfBoth {
            fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
                self.0.interrupt();
                Err(DeliveryFailure::Unknown(TransportError::Broken(std::io::ErrorKind::UnexpectedEof)))
            }
        }
        let (interrupted, guard) = (Interrupted::default(), PanicGuard::default());
        let nowhere = Cut { cause: TransportError::Connect, by: Weak::new() };
        let source = GuardedSource::new(Arc::new(nowhere), guard.clone(), 1, &interrupted);
        let delivery = GuardedSink::new(Arc::new(OfBoth(source)), guard, &interrupted);
        assert_eq!(delivery.deliver(&BATCH), Err(DeliveryFailure::Unknown(TransportError::Interrupted)));
    }

    #[test]
    fn no_call_starts_after_an_interrupt_until_a_fork() {
        let guarded = sink(Taker);
        assert_eq!(guarded.deliver(&BATCH), Ok(Receipt::default()));
        guarded.interrupt();
        assert_eq!(guarded.deliver(&BATCH), Err(DeliveryFailure::NotSent(TransportError::Interrupted)));
        guarded.after_fork();
        assert_eq!(guarded.deliver(&BATCH), Ok(Receipt::default()));
    }

    #[test]
    fn a_receipt_with_a_status_that_is_no_success_is_a_refusal() {
        struct Relays(u16);
        impl EventSink for Relays {
            fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
                Ok(Receipt::with_status(self.0))
            }
        }
        let answered = |status| sink(Relays(status)).deliver(&BATCH).map_err(|failure| failure.status());
        assert!(answered(204).is_ok());
        for status in [302, 401, 503] {
            assert_eq!(answered(status).unwrap_err(), Some(status));
        }
    }
}
