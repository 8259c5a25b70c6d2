//! A value of which each process has its own: a forked child makes one at its first need.

use std::mem::{forget, take};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::yield_now;

use arc_swap::{ArcSwap, Guard};

use super::hooks::generation;
use super::watch_forks;

/// A value with locks, channels, threads or connections in it. In a forked child the inherited one
/// is read once, to make the child's own, and then forgotten: to drop it would be to close, unlock or
/// join what belongs to the parent, or to wait for a thread that the child does not have.
///
/// To find the value is to compare the generation, and in a child one load more. No lock is taken:
/// `ArcSwap` has none, so that it works in a child whatever the parent's other threads were doing with
/// it. What they had borrowed at the fork is never given back there, and thus never freed.
pub(crate) struct PerProcess<T> {
    /// The value of the process that made this; there it stays in place.
    first: Arc<Owned<T>>,
    current: ArcSwap<Owned<T>>,
    /// The generation whose value is in place or being made.
    claimed: AtomicU64,
}

/// The value of this process, for a moment.
pub(crate) enum Current<'a, T> {
    /// Of the process that made the first.
    First(&'a T),
    /// Of a child.
    Later(Guard<Arc<Owned<T>>>),
}

pub(crate) struct Owned<T> {
    generation: u64,
    value: T,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        watch_forks();
        let generation = generation();
        let first = Arc::new(Owned { generation, value });
        let current = ArcSwap::new(Arc::clone(&first));
        Self { first, current, claimed: AtomicU64::new(generation) }
    }

    /// The value of this process. The first call in a child makes it with `inherit`, which must not
    /// wait for a lock of the inherited one; then it runs `begin` on what it has put in place.
    #[inline]
    pub(crate) fn get(&self, inherit: impl FnOnce(&T) -> T, begin: impl FnOnce(&T)) -> Current<'_, T> {
        match self.peek() {
            Some(current) => current,
            None => self.renew(inherit, begin),
        }
    }

    /// The value of this process, if it has made one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Current<'_, T>> {
        let generation = generation();
        if self.first.generation == generation {
            return Some(Current::First(&self.first.value));
        }
        Some(self.current.load()).filter(|current| current.generation == generation).map(Current::Later)
    }

    #[cold]
    fn renew(&self, inherit: impl FnOnce(&T) -> T, begin: impl FnOnce(&T)) -> Current<'_, T> {
        let generation = generation();
        if self.claimed.swap(generation, Ordering::AcqRel) == generation {
            // Another thread of this process makes it at this moment, and waits for nothing.
            loop {
                match self.peek() {
                    Some(current) => return current,
                    None => yield_now(),
                }
            }
        }
        let value = inherit(&self.current.load().value);
        forget(self.current.swap(Arc::new(Owned { generation, value })));
        let current = self.current.load();
        begin(&current.value);
        Current::Later(current)
    }
}

/// In a child: moves what an inherited lock holds to a new one. Where a thread of the parent held it at
/// the fork nobody will ever release it, and what it guards may be half-changed; that is left behind.
pub(crate) fn inherit_lock<T: Default>(inherited: &Mutex<T>) -> Mutex<T> {
    match inherited.try_lock() {
        Ok(mut value) => Mutex::new(take(&mut *value)),
        Err(TryLockError::Poisoned(value)) => Mutex::new(take(&mut *value.into_inner())),
        Err(TryLockError::WouldBlock) => Mutex::default(),
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.peek().is_none() {
            // A count that nobody gives back, so that the drop that follows frees nothing.
            forget(self.current.load_full());
        }
    }
}

impl<T> Deref for Current<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::First(value) => value,
            Self::Later(owned) => &owned.value,
        }
    }
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use super::*;
    use crate::threads::process::hooks::in_child;

    /// Counts its drops.
    struct Counted<'a>(&'a AtomicU64);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_child_drops_what_it_made_and_never_what_it_inherited() {
        let drops = AtomicU64::new(0);
        let new = || Counted(&drops);
        #[expect(clippy::cast_possible_truncation, reason = "a handful of drops")]
        let dropped = || drops.load(Ordering::Relaxed) as u8;
        let mut slot = Some(PerProcess::new(new()));
        let unused = in_child(|| {
            drop(slot.take());
            dropped()
        });
        assert_eq!(unused, 0, "where it was not used");
        let used = in_child(|| {
            if let Some(slot) = slot.as_ref() {
                drop(slot.get(|_| new(), |_| {}));
            }
            drop(slot.take());
            dropped()
        });
        assert_eq!(used, 1, "where it was used, the child's own");
        drop(slot.take());
        assert_eq!(dropped(), 1, "the parent drops its own");
    }
}
