//! Where configs are put: by the refresher, or by a caller who starts with the standby.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{ConfigOrigin, SnapshotCell};
use crate::engine::{LifecycleEvent, Standby};
use crate::threads::Notifier;

pub(super) struct Place {
    pub(super) cell: Arc<SnapshotCell>,
    pub(super) notifier: Arc<Notifier>,
    offer: Mutex<Offer>,
}

/// What callers may put in place while the refresher waits or fetches.
#[derive(Default)]
enum Offer {
    #[default]
    None,
    Open(Standby),
    Taken,
    /// A caller has lost patience before there was an offer.
    Awaited,
}

impl Place {
    pub(super) fn new(cell: Arc<SnapshotCell>, notifier: Arc<Notifier>) -> Self {
        Self { cell, notifier, offer: Mutex::default() }
    }

    /// Takes the offer, or the next one.
    pub(super) fn adopt(&self) {
        let mut offer = self.offer();
        let (next, started) = match std::mem::take(&mut *offer) {
            Offer::Open(Standby { snapshot, etag, at }) => {
                let event = LifecycleEvent::ready(&snapshot);
                self.cell.publish(snapshot, etag);
                self.cell.confirm(ConfigOrigin::Cached, at);
                (Offer::Taken, Some(event))
            }
            Offer::Taken => (Offer::Taken, None),
            Offer::None | Offer::Awaited => (Offer::Awaited, None),
        };
        *offer = next;
        // An event may wake a task, which is foreign code.
        drop(offer);
        if let Some(event) = started {
            self.notifier.notify(event);
        }
    }

    /// Makes an offer, and returns whether it was taken at once.
    pub(super) fn make_offer(&self, standby: Standby) -> bool {
        let mut offer = self.offer();
        let awaited = matches!(*offer, Offer::Awaited);
        *offer = Offer::Open(standby);
        drop(offer);
        if awaited {
            self.adopt();
        }
        awaited && self.end_offer()
    }

    /// Ends the offer; whether it was taken.
    pub(super) fn end_offer(&self) -> bool {
        let mut offer = self.offer();
        let taken = matches!(*offer, Offer::Taken);
        if !matches!(*offer, Offer::Awaited) {
            *offer = Offer::None;
        }
        taken
    }

    fn offer(&self) -> MutexGuard<'_, Offer> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
