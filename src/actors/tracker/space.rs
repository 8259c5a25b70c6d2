//! How callers wait for space in the channel, where the overflow policy lets them.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::actors::wait::Wakers;

/// Where callers wait until the tracker has taken something out of the channel, or takes nothing any more.
#[derive(Default)]
pub(super) struct Space {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
    /// Tasks that wait for the same.
    pub(super) tasks: Arc<Wakers>,
}

impl Space {
    /// Tries whenever there may be more space, until an attempt says what became of it; `None` after the
    /// deadline.
    pub(super) fn wait<T>(&self, deadline: Instant, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let result = loop {
            // Either this attempt sees the space, or whoever made it sees that somebody waits.
            fence(Ordering::SeqCst);
            if let Some(result) = attempt() {
                break Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            guard =
                self.changed.wait_timeout(guard, left).map_or_else(|poison| poison.into_inner().0, |it| it.0);
        };
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// There may be more space, or an end.
    pub(super) fn changed(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.changed.notify_all();
            drop(guard);
        }
        self.tasks.wake_all();
    }
}
