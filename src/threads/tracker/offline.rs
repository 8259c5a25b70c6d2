//! The tracker of an offline core: the same machine, run by the callers that record, without a thread.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::ConfigSnapshot;
use crate::engine::{
    Effect, Effects, Ledger, Refused, TrackedEvent, Tracker, TrackerSettings, Verdict, question,
};
use crate::threads::Notifier;
use crate::threads::clock::Clock;

/// Records end here, judged and counted as in any other core, and never leave the process.
pub(crate) struct OfflineTracker {
    machine: Mutex<Machine>,
    clock: Clock,
    notifier: Arc<Notifier>,
    ledger: Arc<Ledger>,
    /// Sees what would have been sent.
    witness: Option<Witness>,
}

/// Told of every record that an offline core would have sent, on the thread that recorded it.
pub(crate) type Witness = Arc<dyn Fn(&ConfigSnapshot, &TrackedEvent) + Send + Sync>;

struct Machine {
    tracker: Tracker,
    effects: Effects,
}

impl OfflineTracker {
    pub(crate) fn new(
        settings: TrackerSettings,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
        witness: Option<Witness>,
        clock: Clock,
    ) -> Self {
        // Each record is a batch of its own, so that its fate is known when the call returns. No data store is asked:
        // what was not sent must not keep another process from sending it.
        let settings = TrackerSettings {
            batch_size: std::num::NonZeroUsize::MIN,
            auto_flush_interval: None,
            store: false,
            ..settings
        };
        let machine = Machine { tracker: Tracker::new(settings), effects: Effects::default() };
        Self { machine: Mutex::new(machine), clock, notifier, ledger, witness }
    }

    /// Takes one record and decides its fate.
    pub(crate) fn record(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        closed: bool,
    ) -> Result<Verdict, Refused> {
        self.ledger.count_offered();
        if closed {
            self.ledger.count_refused(Refused::Closed, event.class());
            return Err(Refused::Closed);
        }
        let has_listeners = self.notifier.has_listeners();
        let mut events = Vec::new();
        let verdict = {
            // A panic cannot leave it half-changed: nothing foreign runs under the lock.
            let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
            let Machine { tracker, effects } = &mut *machine;
            effects.has_listeners = has_listeners;
            let now = self.clock.now();
            // Nobody waits for the answer: it is seen on its way.
            let (reply, _) = question();
            tracker.record(event, Some(reply), now, effects);
            let (mut verdict, mut withheld) = (Verdict::Accepted, Vec::new());
            loop {
                tracker.settle(now, effects);
                let begun = withheld.len();
                for effect in effects.drain() {
                    match effect {
                        Effect::Deliver(delivery) => withheld.push(delivery),
                        Effect::Notify(event) => events.push(event),
                        Effect::Judge(_, judged) => verdict = judged,
                        // Nobody flushes what is never pending.
                        Effect::Report(..) => {}
                    }
                }
                if withheld.len() == begun {
                    break;
                }
                for delivery in &withheld[begun..] {
                    tracker.withhold(delivery, now, effects);
                }
            }
            self.ledger.publish(tracker.stats(), tracker.oldest_pending());
            if let Some(witness) = &self.witness {
                let records = withheld.iter().flat_map(|delivery| &delivery.records);
                records.for_each(|queued| witness(snapshot, &queued.event));
            }
            verdict
        };
        events.into_iter().for_each(|event| self.notifier.notify(event));
        match verdict {
            Verdict::BacklogFull => Err(Refused::Full),
            verdict => Ok(verdict),
        }
    }
}
