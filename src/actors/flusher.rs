//! The flusher: makes one delivery at a time and tells the tracker how it ended.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use smol_str::SmolStr;

use super::thread::Worker;
use crate::caught::caught;
use crate::error::StartError;
use crate::secret::Secret;
use crate::tracking::{Envelope, Queued, ReleaseReason};
use crate::transport::{TrackingRequest, TrackingResponse, Transport, TransportError};

/// The way to the flusher. Dropping it ends the thread after the delivery at hand.
pub(crate) struct FlusherHandle {
    inbox: Sender<FlusherCommand>,
}

pub(crate) enum FlusherCommand {
    /// Post these records and hand them back with the outcome.
    Deliver(Delivery),
}

/// Records on their way out.
pub(crate) struct Delivery {
    /// Counts up; a flush asks for a delivery that began after it.
    pub(crate) attempt: u64,
    pub(crate) records: Vec<Queued>,
    pub(crate) reason: ReleaseReason,
    /// How often the first of the records was tried before.
    pub(crate) retries: u32,
}

/// A delivery that has ended.
pub(crate) struct Outcome {
    pub(crate) delivery: Delivery,
    pub(crate) result: Result<TrackingResponse, TransportError>,
    pub(crate) bytes: usize,
}

/// What every delivery of a core has in common.
pub(crate) struct Flusher {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) envelope: Envelope,
    /// The SDK key, where there is one.
    pub(crate) sdk_key: Option<Secret>,
    pub(crate) timeout: Duration,
}

impl FlusherHandle {
    /// Starts the thread; outcomes go to `outcomes`.
    pub(crate) fn start(flusher: Flusher, outcomes: Sender<Outcome>) -> Result<(Self, Worker), StartError> {
        let (inbox, commands) = bounded(1);
        let worker = Worker::start("convert-flusher", move || flusher.run(&commands, &outcomes))?;
        Ok((Self { inbox }, worker))
    }

    /// Hands a delivery over. The tracker sends one only when the one before has ended, so there
    /// is always room.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.inbox.send(FlusherCommand::Deliver(delivery)).map_err(|error| {
            let FlusherCommand::Deliver(delivery) = error.into_inner();
            delivery
        })
    }
}

impl Flusher {
    fn run(self, commands: &Receiver<FlusherCommand>, outcomes: &Sender<Outcome>) {
        while let Ok(FlusherCommand::Deliver(delivery)) = commands.recv() {
            // A tracker that is gone has counted what it left behind.
            let _ = outcomes.send(self.deliver(delivery));
        }
    }

    fn deliver(&self, delivery: Delivery) -> Outcome {
        let body = self.envelope.body(&delivery.records);
        let route_key = self.route_key();
        let request = TrackingRequest {
            route_key: &route_key,
            project_id: &self.envelope.project_id,
            body: &body,
            timeout: self.timeout,
        };
        let result = caught("the transport", || self.transport.send_tracking(&request))
            .unwrap_or(Err(TransportError::Panicked));
        Outcome { delivery, result, bytes: body.len() }
    }

    /// The SDK key, or `{account}/{project}` without one.
    fn route_key(&self) -> SmolStr {
        match &self.sdk_key {
            Some(key) => key.expose().into(),
            None => smol_str::format_smolstr!("{}/{}", self.envelope.account_id, self.envelope.project_id),
        }
    }
}
