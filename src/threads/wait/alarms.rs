//! The deadlines of tasks that wait for a pump, which its turns keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::engine::{Moment, wake};

/// Who is to be woken when.
#[derive(Default)]
pub(crate) struct Alarms(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    tasks: BTreeMap<Key, Waker>,
    next: u64,
}

/// A moment, and a number to distinguish waits for the same moment.
type Key = (Moment, u64);

/// One wait; dropping it ends it.
pub(crate) struct Alarm {
    alarms: Arc<Alarms>,
    key: Key,
}

impl Alarms {
    /// Has the task woken by the turn at this moment; a wait that has begun keeps its moment.
    pub(super) fn set(self: &Arc<Self>, alarm: &mut Option<Alarm>, at: Moment, context: &Context<'_>) {
        let waker = context.waker().clone();
        let mut waits = self.lock();
        let key = alarm.as_ref().map_or((at, waits.next), |alarm| alarm.key);
        waits.next += 1;
        let before = waits.tasks.insert(key, waker);
        drop(waits);
        // After unlocking: a waker is foreign code.
        drop(before);
        alarm.get_or_insert_with(|| Alarm { alarms: Arc::clone(self), key });
    }

    /// When the next task is to be woken.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.lock().tasks.keys().next().map(|(at, _)| *at)
    }

    /// Wakes one task whose moment has come, and returns whether there was one.
    pub(crate) fn wake_next(&self, now: Moment) -> bool {
        let mut waits = self.lock();
        let due = waits.tasks.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove());
        drop(waits);
        due.map(wake).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = self.alarms.lock().tasks.remove(&self.key);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn alarms_ring_in_order_and_a_dropped_one_never() {
        let (alarms, context) = (Arc::<Alarms>::default(), Context::from_waker(Waker::noop()));
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        let mut waits: Vec<_> = [3, 1, 2, 1].map(|_| None).into();
        for (wait, seconds) in waits.iter_mut().zip([3, 1, 2, 1]) {
            alarms.set(wait, at(seconds), &context);
            alarms.set(wait, at(9), &context);
        }
        assert_eq!(alarms.next(), Some(at(1)));
        assert!(!alarms.wake_next(at(0)));
        drop(waits.remove(2));
        assert!(alarms.wake_next(at(2)) && alarms.wake_next(at(2)) && !alarms.wake_next(at(2)));
        assert_eq!(alarms.next(), Some(at(3)));
    }
}
