//! What callers have asked of a pump: futures that its turns drive to their end, whoever still waits for the answer.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Something to be driven to its end.
pub(crate) type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The errands of one process. A turn polls those that were woken, so that the others cost nothing.
#[derive(Default)]
pub(super) struct Errands {
    /// Not polled here yet.
    new: VecDeque<Errand>,
    open: BTreeMap<u64, (Errand, Arc<Bell>)>,
    rung: Arc<Rung>,
    next: u64,
}

/// The numbers of errands that have been woken, each once.
#[derive(Default)]
struct Rung(Mutex<VecDeque<u64>>);

/// Wakes one errand.
struct Bell {
    number: u64,
    is_rung: AtomicBool,
    rung: Arc<Rung>,
}

impl Errands {
    /// Takes an errand over, to be polled soon. There may be many at once.
    pub(super) fn take(&mut self, errand: Errand) {
        self.new.push_back(errand);
    }

    /// Whether one can go on.
    pub(super) fn is_due(&self) -> bool {
        !self.new.is_empty() || !self.rung.lock().is_empty()
    }

    /// Lets the one go on that was woken first.
    pub(super) fn poll_next(&mut self) {
        let rung = self.rung.lock().pop_front();
        if let Some(number) = rung.or_else(|| self.open_next()) {
            self.poll(number);
        }
    }

    fn open_next(&mut self) -> Option<u64> {
        let (errand, number) = (self.new.pop_front()?, self.next);
        let bell = Bell { number, is_rung: AtomicBool::new(false), rung: Arc::clone(&self.rung) };
        self.open.insert(number, (errand, Arc::new(bell)));
        self.next += 1;
        Some(number)
    }

    /// Lets each go on a last time.
    pub(super) fn end(&mut self) {
        while self.open_next().is_some() {}
        for number in self.open.keys().copied().collect::<Vec<_>>() {
            self.poll(number);
        }
    }

    fn poll(&mut self, number: u64) {
        let Some((errand, bell)) = self.open.get_mut(&number) else { return };
        // Before the poll, so that a wake during it counts.
        bell.is_rung.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(bell));
        if let Poll::Ready(()) = errand.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.open.remove(&number);
        }
    }
}

impl Rung {
    fn lock(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.rung.lock().push_back(self.number);
        }
    }
}
