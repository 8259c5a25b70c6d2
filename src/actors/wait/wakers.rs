//! The tasks that wait for one and the same thing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::wake;

/// Tasks to be woken together: when a thread has ended, when an inbox has room again, when there are
/// events. Whoever changes what they wait for calls [`wake_all`](Self::wake_all) after the change.
#[derive(Default)]
pub(crate) struct Wakers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    tasks: Vec<(u64, Waker)>,
    next: u64,
}

/// One task's place among the waiting ones; dropping it gives the place up.
pub(crate) struct Waiter {
    wakers: Arc<Wakers>,
    id: u64,
}

impl Wakers {
    /// Wakes every task that has registered since the last call.
    pub(crate) fn wake_all(&self) {
        // Woken and dropped without the lock: a waker is foreign code.
        let tasks = std::mem::take(&mut self.lock().tasks);
        tasks.into_iter().for_each(|(_, waker)| wake(waker));
    }

    /// A place for one task, which does not wait yet.
    pub(crate) fn waiter(self: &Arc<Self>) -> Waiter {
        let mut waiting = self.lock();
        let id = waiting.next;
        waiting.next += 1;
        Waiter { wakers: Arc::clone(self), id }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, id: u64) -> Option<Waker> {
        let mut waiting = self.lock();
        let place = waiting.tasks.iter().position(|(known, _)| *known == id)?;
        Some(waiting.tasks.swap_remove(place).1)
    }
}

impl Waiter {
    /// Has the task woken by the next [`Wakers::wake_all`]. The look at what is waited for must come
    /// after this, or a change in between would be missed.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let before = self.wakers.take(self.id);
        self.wakers.lock().tasks.push((self.id, waker));
        drop(before);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.wakers.take(self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_once_for_each_registration_and_leaves_nothing_behind() {
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
    fn an_executor_that_panics_keeps_the_others_from_nothing() {
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
