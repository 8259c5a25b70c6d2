//! The one place that holds the current snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use smol_str::SmolStr;

use super::{ConfigOrigin, ConfigSnapshot, Number, Numbers, SnapshotExt};
use crate::engine::NumberedDecisions;
use crate::stripes::{Handle, Striped};

/// Holds the current snapshot: anyone can load it without a lock; the refresher replaces it as a whole.
#[derive(Default)]
pub(crate) struct SnapshotCell {
    snapshot: ArcSwapOption<Striped<ConfigSnapshot>>,
    /// The snapshot's ETag, for the refresher of a forked child; none while the snapshot is being replaced.
    etag: ArcSwapOption<String>,
    /// The snapshot's, or those of the one before while it is being replaced.
    numbers: ArcSwap<Numbers>,
    /// The snapshot's serial number once its decisions are numbered; 0 while it is being replaced.
    serial: AtomicU32,
    /// Where the snapshot came from, and when it was last known to be current.
    provenance: ArcSwapOption<(ConfigOrigin, SystemTime)>,
}

impl SnapshotCell {
    /// The current snapshot; `None` until the first is published.
    pub(crate) fn load(&self) -> Option<Arc<ConfigSnapshot>> {
        self.snapshot.load().as_ref().map(|snapshot| Arc::clone(snapshot.whole()))
    }

    /// The same for a context.
    pub(crate) fn handle(&self) -> Option<Handle<ConfigSnapshot>> {
        self.snapshot.load().as_ref().map(|snapshot| snapshot.handle())
    }

    /// The current snapshot, which `kept`, the numbers loaded last, leads to without a look at this cell as long as no
    /// other is published.
    #[inline]
    pub(crate) fn current(&self, kept: &mut Arc<Numbers>) -> Option<Handle<ConfigSnapshot>> {
        let serial = self.serial.load(Ordering::Acquire);
        if kept.serial() != serial {
            *kept = self.numbers.load_full();
        }
        if kept.serial() == serial { kept.snapshot() } else { None }.or_else(|| self.handle())
    }

    /// Whether there is a snapshot.
    pub(crate) fn is_set(&self) -> bool {
        self.snapshot.load().is_some()
    }

    /// The snapshot's ETag, if it has one.
    pub(crate) fn etag(&self) -> Option<String> {
        self.etag.load().as_deref().cloned()
    }

    /// The numbers of decisions, as of this snapshot if it is the current one. `kept` is where the caller keeps what
    /// was loaded last.
    #[inline]
    pub(crate) fn numbers<'k>(&self, snapshot: &ConfigSnapshot, kept: &'k mut Arc<Numbers>) -> &'k Numbers {
        if !kept.is_of(snapshot) {
            *kept = self.numbers.load_full();
        }
        kept
    }

    /// The numbers of decisions, with all that were given so far.
    #[inline]
    pub(crate) fn latest_numbers(&self) -> Guard<Arc<Numbers>> {
        self.numbers.load()
    }

    pub(crate) fn provenance(&self) -> Option<(ConfigOrigin, SystemTime)> {
        self.provenance.load().as_deref().copied()
    }

    /// Notes where the snapshot came from, and when it was last known to be current.
    pub(crate) fn confirm(&self, origin: ConfigOrigin, at: SystemTime) {
        self.provenance.store(Some(Arc::new((origin, at))));
    }

    /// Publishes a snapshot unless there is one, and returns whether it did.
    pub(crate) fn publish_first(&self, snapshot: Arc<ConfigSnapshot>) -> bool {
        let none: Option<Arc<Striped<ConfigSnapshot>>> = None;
        self.serial.store(0, Ordering::SeqCst);
        let is_first =
            self.snapshot.compare_and_swap(&none, Some(Arc::new(Striped::new(snapshot)))).is_none();
        self.renumber();
        is_first
    }

    /// Publishes a snapshot.
    pub(crate) fn publish(&self, snapshot: Arc<ConfigSnapshot>, etag: Option<String>) {
        self.etag.store(None);
        self.serial.store(0, Ordering::SeqCst);
        let before = self.snapshot.swap(Some(Arc::new(Striped::new(snapshot))));
        self.renumber();
        self.etag.store(etag.map(Arc::new));
        drop(before);
    }

    /// Numbers the decisions of what is the snapshot by then, whoever else publishes at the same time.
    pub(crate) fn renumber(&self) {
        self.numbers.rcu(|numbers| match &*self.snapshot.load() {
            Some(snapshot) if !numbers.is_of(snapshot) => Arc::new(numbers.with(snapshot)),
            _ => Arc::clone(numbers),
        });
        // Whoever is overtaken by another publisher stores nothing.
        loop {
            let (known, serial) = (self.serial.load(Ordering::SeqCst), self.numbered());
            if known == serial {
                return;
            }
            let _ = self.serial.compare_exchange(known, serial, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The snapshot's serial number, or 0 if its decisions are not numbered yet.
    fn numbered(&self) -> u32 {
        let (snapshot, numbers) = (self.snapshot.load(), self.numbers.load());
        snapshot.as_ref().filter(|snapshot| numbers.is_of(snapshot)).map_or(0, |snapshot| snapshot.serial())
    }
}

impl NumberedDecisions for SnapshotCell {
    fn ids(&self, given: &[Option<Number>]) -> Arc<[(SmolStr, SmolStr)]> {
        let numbers = self.latest_numbers();
        given.iter().flatten().filter_map(|number| numbers.ids(*number).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn what_is_kept_leads_to_the_current_snapshot_and_keeps_none() {
        let config = || load(r#"{"account_id": "1", "project": {"id": "2"}}"#.into(), &Default::default());
        let (first, second) = (config().unwrap(), config().unwrap());
        let (cell, mut kept, mut idle) = (SnapshotCell::default(), Arc::default(), Arc::default());
        assert!(cell.current(&mut kept).is_none());
        assert!(cell.publish_first(Arc::clone(&first)));
        for kept in [&mut kept, &mut idle] {
            assert!(cell.current(kept).is_some_and(|found| Arc::ptr_eq(found.whole(), &first)));
        }
        cell.publish(Arc::clone(&second), None);
        assert_eq!((idle.serial(), Arc::strong_count(&first)), (first.serial(), 1));
        assert!(cell.current(&mut kept).is_some_and(|found| Arc::ptr_eq(found.whole(), &second)));
    }
}
