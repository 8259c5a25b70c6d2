//! What every call counts, in places that threads rarely share.

use std::ops::Deref;
use std::sync::{Arc, Weak};

/// So many places there are.
pub(crate) const STRIPES: usize = 16;

/// The place of this thread.
#[inline(always)]
pub(crate) fn stripe() -> usize {
    // Threads have separate stacks, and this is an address on the caller's. Stacks are 2 to 16 MiB apart, with or without
    // a guard page: either way, at least eight in a row have different places.
    let here = 0_u8;
    let page = std::ptr::from_ref(&here).addr() >> 12;
    (page + 2 * (page >> 9) + (page >> 13)) % STRIPES
}

/// A value whose references are counted in several places: one count for all would move between the cores with every
/// call.
pub(crate) struct Striped<T>([Handle<T>; STRIPES]);

/// A reference to a [`Striped`] value, which lives as long as one of them.
pub(crate) struct Handle<T>(Arc<Padded<T>>);

/// The same, which does not keep the value.
pub(crate) struct WeakHandle<T>(Weak<Padded<T>>);

/// Aligned so that its count has a cache line of its own.
#[repr(align(64))]
struct Padded<T>(Arc<T>);

impl<T> Striped<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(std::array::from_fn(|_| Handle(Arc::new(Padded(Arc::clone(&value))))))
    }

    /// A reference counted in this thread's place.
    #[inline]
    pub(crate) fn handle(&self) -> Handle<T> {
        self.0[stripe()].clone()
    }

    /// For each place.
    pub(crate) fn downgrade(&self) -> [WeakHandle<T>; STRIPES] {
        self.0.each_ref().map(|Handle(counted)| WeakHandle(Arc::downgrade(counted)))
    }

    pub(crate) fn whole(&self) -> &Arc<T> {
        self.0[0].whole()
    }
}

impl<T> Handle<T> {
    #[inline]
    pub(crate) fn whole(&self) -> &Arc<T> {
        &self.0.0
    }
}

impl<T> WeakHandle<T> {
    #[inline]
    pub(crate) fn upgrade(&self) -> Option<Handle<T>> {
        self.0.upgrade().map(Handle)
    }
}

impl<T> Clone for Handle<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Striped<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.whole()
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.whole()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn threads_have_different_places() {
        let all = Barrier::new(STRIPES);
        let places: HashSet<usize> = std::thread::scope(|scope| {
            let place = || {
                all.wait();
                let place = stripe();
                all.wait();
                place
            };
            let threads: Vec<_> = (0..STRIPES).map(|_| scope.spawn(place)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(places.len() > STRIPES / 4, "{places:?}");
    }

    #[test]
    fn a_value_lives_as_long_as_one_reference_to_it() {
        let value = Arc::new(7);
        let (striped, seen) = (Striped::new(Arc::clone(&value)), Arc::downgrade(&value));
        drop(value);
        let weak = striped.downgrade();
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| striped.handle()).join().unwrap());
        drop(striped);
        assert_eq!((seen.strong_count(), *elsewhere.clone()), (1, 7));
        assert_eq!(weak.iter().filter_map(WeakHandle::upgrade).count(), 1);
        drop(elsewhere);
        assert!(seen.upgrade().is_none() && weak.iter().all(|it| it.upgrade().is_none()));
    }
}
