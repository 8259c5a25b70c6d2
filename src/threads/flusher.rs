//! The flusher: makes deliveries, one at a time per lane, and reports their outcomes to the tracker.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use smol_str::SmolStr;

use super::worker::Worker;
use crate::caught::PanicGuard;
use crate::engine::{Delivery, Envelope, Outcome};
use crate::error::StartError;
use crate::options::Secret;
use crate::ports::{DeliveryFailure, EventBatch, EventSink, TransportError};

/// The handle to the flusher. Dropping it ends each lane after its delivery in flight.
pub(crate) struct FlusherHandle {
    inbox: Sender<Delivery>,
}

/// What all of a core's deliveries have in common.
pub(crate) struct Flusher {
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) envelope: Envelope,
    /// The SDK key, if there is one.
    pub(crate) sdk_key: Option<Secret>,
    pub(crate) timeout: Duration,
    pub(crate) guard: PanicGuard,
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
        let (body, left_out) = self.envelope.body(&delivery.records);
        let route_key = self.route_key();
        let batch = EventBatch {
            route_key: &route_key,
            project_id: &self.envelope.project_id,
            events: delivery.records.iter().map(|queued| queued.event.wire_events()).sum(),
            body: &body,
            timeout: self.timeout,
        };
        let result = self
            .guard
            .caught("the transport", || self.sink.deliver(&batch))
            .unwrap_or(Err(DeliveryFailure::Unknown(TransportError::Panicked)));
        Outcome { delivery, result, bytes: body.len(), left_out }
    }

    /// The SDK key, or `{account}/{project}` if there is none.
    fn route_key(&self) -> SmolStr {
        match &self.sdk_key {
            Some(key) => key.expose().into(),
            None => smol_str::format_smolstr!("{}/{}", self.envelope.account_id, self.envelope.project_id),
        }
    }
}
