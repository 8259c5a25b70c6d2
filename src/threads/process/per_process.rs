//! A per-process value: a forked child creates its own on first use.

use std::mem::{forget, take};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::yield_now;

use arc_swap::{ArcSwap, Guard};

use super::hooks::generation;
use super::watch_forks;

/// A value that contains locks, channels, threads or connections. In a forked child the inherited one is read
/// once, to create the child's own, and then leaked: dropping it would close, unlock or join what belongs to
/// the parent, or wait for a thread that the child does not have.
///
/// Finding the value costs a comparison of generations, and in a child one more load. No lock is taken:
/// `ArcSwap` has none, so it works in a child whatever the parent's other threads were doing with it. What
/// they had borrowed at the fork is never returned there, and thus never freed.
pub(crate) struct PerProcess<T> {
    /// The value of the process that created this; it stays in place there.
    first: Arc<Owned<T>>,
    current: ArcSwap<Owned<T>>,
    /// The generation whose value is in place or being created.
    claimed: AtomicU64,
}

/// A short-lived borrow of this process's value.
pub(crate) enum Current<'a, T> {
    /// In the process that created the first value.
    First(&'a T),
    /// In a child.
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

    /// This process's value. The first call in a child creates it with `inherit`, which must not wait for a
    /// lock of the inherited one, and then runs `begin` on the value in place.
    #[inline]
    pub(crate) fn get(&self, inherit: impl FnOnce(&T) -> T, begin: impl FnOnce(&T)) -> Current<'_, T> {
        match self.peek() {
            Some(current) => current,
            None => self.renew(inherit, begin),
        }
    }

    /// This process's value, if it has created one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Current<'_, T>> {
        if let Some(first) = self.first() {
            return Some(Current::First(first));
        }
        let generation = generation();
        Some(self.current.load()).filter(|current| current.generation == generation).map(Current::Later)
    }

    /// The value in the process that created this, where nothing needs to be borrowed.
    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        (self.first.generation == generation()).then_some(&self.first.value)
    }

    #[cold]
    fn renew(&self, inherit: impl FnOnce(&T) -> T, begin: impl FnOnce(&T)) -> Current<'_, T> {
        let generation = generation();
        if self.claimed.swap(generation, Ordering::AcqRel) == generation {
            // Another thread of this process is creating it right now, without waiting for anything.
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

/// In a child: moves the contents of an inherited lock to a new one. If a thread of the parent held it at the
/// fork, it is never released and what it guards may be half-changed; that is left behind.
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
            // A leaked reference count, so that the drop that follows frees nothing.
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
    fn a_child_drops_what_it_made_but_not_what_it_inherited() {
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
