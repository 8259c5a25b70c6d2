//! What stands between the SDK and any transport: bounds on what it hands over, a guard against its panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError};
use crate::caught::PanicGuard;

const WHAT: &str = "the transport";
/// What is kept of a reason that a transport gives, in bytes.
const MAX_REASON: usize = 1024;
/// A longer ETag is not sent back, so that each fetch brings the whole config.
const MAX_ETAG: usize = 8 * 1024;

/// Any transport, the built-in one too. The panics of its requests are caught where they are made.
pub(crate) struct GuardedTransport {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) guard: PanicGuard,
    /// Bound on a body, whoever has read it.
    pub(crate) max_response_bytes: u64,
    /// No further call begins in this process.
    pub(crate) interrupted: AtomicBool,
}

impl GuardedTransport {
    /// A call that began after the interrupt would have nobody to end it.
    fn begin(&self) -> Result<&dyn Transport, TransportError> {
        let interrupted = self.interrupted.load(Ordering::Acquire);
        if interrupted { Err(TransportError::Interrupted) } else { Ok(&*self.transport) }
    }

    /// What the interrupt has ended is said to be so, whatever the client made of it.
    fn told(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Broken(_) | TransportError::Protocol
                if self.interrupted.load(Ordering::Acquire) =>
            {
                TransportError::Interrupted
            }
            error => shortened(error),
        }
    }

    fn bounded(
        &self,
        answer: Result<ConfigResponse, TransportError>,
    ) -> Result<ConfigResponse, TransportError> {
        match answer.map_err(|error| self.told(error))? {
            ConfigResponse::NotModified => Ok(ConfigResponse::NotModified),
            ConfigResponse::Fetched { body, .. } if body.len() as u64 > self.max_response_bytes => {
                Err(TransportError::TooLarge(self.max_response_bytes))
            }
            ConfigResponse::Fetched { body, etag } => {
                Ok(ConfigResponse::Fetched { body, etag: etag.filter(|etag| etag.len() <= MAX_ETAG) })
            }
        }
    }
}

impl Transport for GuardedTransport {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.bounded(self.begin()?.fetch_config(request))
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.bounded(self.begin()?.fetch_experience(request, experience_id))
    }

    fn send_tracking(&self, request: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        // Of what is not begun nothing is sent.
        let transport = self.begin().map_err(|_| TransportError::Connect)?;
        transport.send_tracking(request).map_err(|error| self.told(error))
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.guard.caught(WHAT, || self.transport.interrupt());
    }

    fn after_fork(&self) {
        self.interrupted.store(false, Ordering::Release);
        self.guard.caught(WHAT, || self.transport.after_fork());
    }
}

/// An error is kept in the ledger and logged: not with a text of any length.
fn shortened(error: TransportError) -> TransportError {
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
    use crate::options::CacheLevel;

    struct Taker;

    const FETCH: ConfigRequest<'static> = ConfigRequest {
        sdk_key: "",
        environment: None,
        cache_level: CacheLevel::Default,
        debug_token: None,
        etag: None,
        timeout: Duration::ZERO,
    };
    const DELIVERY: TrackingRequest<'static> =
        TrackingRequest { route_key: "", project_id: "", body: b"", timeout: Duration::ZERO };

    fn guarded(transport: impl Transport) -> GuardedTransport {
        GuardedTransport {
            transport: Arc::new(transport),
            guard: PanicGuard::default(),
            max_response_bytes: 1,
            interrupted: AtomicBool::new(false),
        }
    }

    impl Transport for Taker {
        fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
            Ok(ConfigResponse::NotModified)
        }

        fn send_tracking(&self, _: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
            Ok(TrackingResponse::new(200))
        }
    }

    /// Breaks by an interrupt, if it is given what to interrupt.
    struct Cut {
        cause: TransportError,
        by: Weak<GuardedTransport>,
    }

    impl Cut {
        fn cut(&self) -> TransportError {
            if let Some(guarded) = self.by.upgrade() {
                guarded.interrupt();
            }
            self.cause.clone()
        }
    }

    impl Transport for Cut {
        fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
            Err(self.cut())
        }

        fn send_tracking(&self, _: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
            Err(self.cut())
        }
    }

    #[test]
    fn what_the_interrupt_has_ended_is_said_to_be_so() {
        use TransportError::{Broken, Connect, Interrupted, Protocol};
        let eof = Broken(std::io::ErrorKind::UnexpectedEof);
        for (cause, told) in [(&eof, Interrupted), (&Protocol, Interrupted), (&Connect, Connect)] {
            let cut = || {
                let make =
                    |by: &Weak<GuardedTransport>| guarded(Cut { cause: cause.clone(), by: by.clone() });
                Arc::new_cyclic(make)
            };
            assert_eq!(cut().fetch_config(&FETCH), Err(told.clone()));
            assert_eq!(cut().send_tracking(&DELIVERY), Err(told));
            let by_itself = guarded(Cut { cause: cause.clone(), by: Weak::new() });
            assert_eq!(by_itself.send_tracking(&DELIVERY), Err(cause.clone()));
        }
    }

    #[test]
    fn no_call_begins_after_the_interrupt_until_a_fork() {
        let guarded = guarded(Taker);
        assert!(guarded.begin().is_ok());
        guarded.interrupt();
        assert_eq!(guarded.begin().err(), Some(TransportError::Interrupted));
        assert_eq!(guarded.send_tracking(&DELIVERY), Err(TransportError::Connect), "nothing is sent");
        guarded.after_fork();
        assert!(guarded.begin().is_ok());
    }
}
