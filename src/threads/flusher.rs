//! The flusher: makes deliveries, one at a time per lane, and reports their outcomes to the tracker.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use smol_str::SmolStr;

use super::worker::Worker;
use crate::caught::PanicGuard;
use crate::engine::{Delivery, Envelope, Outcome, ReleaseReason};
use crate::error::StartError;
use crate::options::Secret;
use crate::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use crate::telemetry::{Timer, delivery_span};

/// The handle to the flusher. Dropping it ends each lane after its delivery in flight.
pub(crate) struct FlusherHandle {
    inbox: Sender<Delivery>,
}

/// Makes deliveries by the sink, on the calling thread.
pub(crate) struct Flusher {
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) deliveries: Deliveries,
    pub(crate) guard: PanicGuard,
}

/// What all of a core's deliveries have in common, whoever makes them.
pub(crate) struct Deliveries {
    pub(crate) envelope: Envelope,
    /// The SDK key, if there is one.
    pub(crate) sdk_key: Option<Secret>,
    /// The limit on a delivery's first attempt, which doubles with each further one up to `timeout`.
    pub(crate) first_timeout: Duration,
    pub(crate) timeout: Duration,
}

/// A delivery whose request is on its way.
pub(crate) struct Sent {
    delivery: Delivery,
    events: usize,
    bytes: usize,
    left_out: u64,
    timer: Timer,
}

impl FlusherHandle {
    /// A handle for this many lanes, and the receiver that they share.
    pub(crate) fn new(lanes: usize) -> (Self, Receiver<Delivery>) {
        let (inbox, deliveries) = bounded(lanes);
        (Self { inbox }, deliveries)
    }

    /// Starts a thread for each lane, which all read one inbox; outcomes go to `outcomes`.
    pub(crate) fn start(
        flusher: Flusher,
        lanes: usize,
        outcomes: &Sender<Outcome>,
    ) -> Result<(Self, Vec<Worker>), StartError> {
        let (handle, deliveries) = Self::new(lanes);
        let flusher = Arc::new(flusher);
        let lane = |_| {
            let (flusher, deliveries, outcomes) =
                (Arc::clone(&flusher), deliveries.clone(), outcomes.clone());
            Worker::start("convert-flusher", move || flusher.run(&deliveries, &outcomes))
        };
        let workers = (0..lanes).map(lane).collect::<Result<_, _>>()?;
        Ok((handle, workers))
    }

    /// Hands a delivery over. The tracker sends one only when a lane is free, so the channel is never full.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.inbox.send(delivery).map_err(SendError::into_inner)
    }
}

impl Flusher {
    fn run(&self, deliveries: &Receiver<Delivery>, outcomes: &Sender<Outcome>) {
        for delivery in deliveries {
            // A tracker that has exited has counted what it left behind.
            let _ = outcomes.send(self.deliver(delivery));
        }
    }

    /// One delivery, from the request to its outcome.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Outcome {
        let (body, left_out) = self.deliveries.envelope.body(&delivery.records);
        let (route_key, id) = (self.deliveries.route_key(), delivery.id.map(|id| id.to_string()));
        let batch = self.deliveries.batch(&delivery, &route_key, id.as_deref(), &body);
        let _span = delivery_span(delivery.records.len(), batch.events, body.len(), delivery.retries);
        let sent = Sent::new(delivery, &batch, left_out);
        let result = self
            .guard
            .caught("the transport", || self.sink.deliver(&batch))
            .unwrap_or(Err(DeliveryFailure::Unknown(TransportError::Panicked)));
        sent.ended(result)
    }
}

impl Sent {
    pub(crate) fn new(delivery: Delivery, batch: &EventBatch<'_>, left_out: u64) -> Self {
        let timer = Timer::start("convert_delivery_seconds", "outcome", "delivered");
        Self { delivery, events: batch.events, bytes: batch.body.len(), left_out, timer }
    }

    pub(crate) fn ended(self, result: Result<Receipt, DeliveryFailure>) -> Outcome {
        let Self { delivery, events, bytes, left_out, mut timer } = self;
        let outcome = result.as_ref().map_or_else(DeliveryFailure::code, |_| "delivered");
        timer.set(outcome);
        // `timeout`, the official name, would read as if something had failed.
        let reason = match delivery.reason {
            ReleaseReason::Timeout => "interval",
            reason => reason.as_str(),
        };
        logged!(
            debug,
            {
                outcome = outcome,
                records = delivery.records.len(),
                events = events,
                bytes = bytes,
                retries = delivery.retries,
                reason = reason,
                seconds = timer.seconds(),
            },
            "a delivery has ended"
        );
        Outcome { delivery, result, bytes, left_out }
    }
}

impl Deliveries {
    /// A delivery with this body, as a sink sees it.
    pub(crate) fn batch<'a>(
        &'a self,
        delivery: &Delivery,
        route_key: &'a str,
        id: Option<&'a str>,
        body: &'a [u8],
    ) -> EventBatch<'a> {
        EventBatch {
            route_key,
            project_id: &self.envelope.project_id,
            events: delivery.records.iter().map(|queued| queued.event.wire_events()).sum(),
            body,
            timeout: self.timeout_after(delivery.patience),
            id,
        }
    }

    fn timeout_after(&self, failures: u32) -> Duration {
        self.first_timeout.saturating_mul(1 << failures.min(16)).min(self.timeout)
    }

    /// The SDK key, or `{account}/{project}` if there is none.
    pub(crate) fn route_key(&self) -> SmolStr {
        match &self.sdk_key {
            Some(key) => key.expose().into(),
            None => smol_str::format_smolstr!("{}/{}", self.envelope.account_id, self.envelope.project_id),
        }
    }
}
