//! The tasks waiting for the same thing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::engine::wake;

/// Tasks to be woken together: when a thread has ended, when an inbox has space again, when there are events.
/// Whoever changes what they wait for calls [`wake_all`](Self::wake_all) after the change.
#[derive(Default)]
pub(crate) struct Wakers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By place; there may be very many, so none is searched for linearly.
    tasks: BTreeMap<Place, Waker>,
    next: u64,
}

/// Lets a test count comparisons.
#[derive(Clone, Copy)]
#[cfg_attr(not(test), derive(PartialEq, Eq, PartialOrd, Ord))]
struct Place(u64);

/// One task's place among those waiting; dropping it frees the place.
pub(crate) struct Waiter {
    wakers: Arc<Wakers>,
    place: Place,
}

impl Wakers {
    /// Wakes every task that has registered since the last call.
    pub(crate) fn wake_all(&self) {
        // Woken and dropped after unlocking: a waker is foreign code.
        let tasks = std::mem::take(&mut self.lock().tasks);
        tasks.into_values().for_each(wake);
    }

    /// A place for one task, which is not waiting yet.
    pub(crate) fn waiter(self: &Arc<Self>) -> Waiter {
        let mut waiting = self.lock();
        let place = Place(waiting.next);
        waiting.next += 1;
        Waiter { wakers: Arc::clone(self), place }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Has the task woken by the next [`Wakers::wake_all`]. The condition must be checked after this, or a
    /// change in between would be missed.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let before = self.wakers.lock().tasks.insert(self.place, waker);
        // After unlocking: a waker is foreign code.
        drop(before);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waker = self.wakers.lock().tasks.remove(&self.place);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    impl PartialEq for Place {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Place {}

    impl PartialOrd for Place {
        fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Place {
        fn cmp(&self, other: &Self) -> cmp::Ordering {
            LOOKS.set(LOOKS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn a_wait_does_not_scan_all_others() {
        const TASKS: u64 = 10_000;
        let wakers = Arc::new(Wakers::default());
        let context = Context::from_waker(Waker::noop());
        let places: Vec<_> = (0..TASKS).map(|_| wakers.waiter()).collect();
        places.iter().for_each(|place| place.register(&context));
        places.iter().for_each(|place| place.register(&context));
        drop(places);
        assert!(wakers.lock().tasks.is_empty());
        // Three steps each, none of which looks at more than log n nodes of up to eleven.
        assert!(LOOKS.get() < TASKS * 3 * 64, "{} looks", LOOKS.get());
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_once_per_registration() {
        let (wakers, counter) = (Arc::new(Wakers::default()), Arc::new(Counter::default()));
        let waker = Waker::from(Arc::clone(&counter));
        let mut context = Context::from_waker(&waker);
        let (one, other) = (wakers.waiter(), wakers.waiter());
        one.register(&context);
        one.register(&context);
        other.register(&context);
        wakers.wake_all();
        wakers.wake_all();
        assert_eq!(counter.0.load(Ordering::SeqCst), 2);
        one.register(&context);
        drop(one);
        wakers.wake_all();
        assert_eq!(counter.0.load(Ordering::SeqCst), 2);
        context = Context::from_waker(Waker::noop());
        other.register(&context);
        assert_eq!(wakers.lock().tasks.len(), 1);
    }

    #[test]
    fn a_panicking_executor_does_not_keep_others_waiting() {
        struct Bad;
        impl Wake for Bad {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        let (wakers, counter) = (Arc::new(Wakers::default()), Arc::new(Counter::default()));
        let (bad, good) = (wakers.waiter(), wakers.waiter());
        bad.register(&Context::from_waker(&Waker::from(Arc::new(Bad))));
        good.register(&Context::from_waker(&Waker::from(Arc::clone(&counter))));
        wakers.wake_all();
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }
}
