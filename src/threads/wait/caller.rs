//! The caller that waits: a blocked thread or a task.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::alarms::{Alarm, Alarms};
#[cfg(feature = "async")]
use super::timer::{TimerHandle, Wait};
use crate::threads::Deadline;

/// Who is waiting, which decides how deadlines are enforced. Every waiting call is written once, for both.
pub(crate) enum Caller {
    /// A thread, parked until the earliest deadline that it is waiting for.
    Thread(Mutex<Option<Instant>>),
    /// A task, woken by a timer.
    #[cfg(feature = "async")]
    Task(TimerHandle),
    /// A task, woken by a turn of the pump.
    Turns(Arc<Alarms>),
}

/// A caller's deadline.
pub(crate) struct Limit<'a> {
    caller: &'a Caller,
    at: Deadline,
    /// Set when a task first polls it.
    #[cfg(feature = "async")]
    wait: Option<Wait>,
    /// The same, for a pump.
    alarm: Option<Alarm>,
}

/// Where a thread parks. Not `std::thread::park`, which needs thread-local values.
#[derive(Default)]
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

/// Runs an asynchronous call, blocking the thread until it finishes.
pub(crate) fn blocking<T>(call: impl AsyncFnOnce(&Caller) -> T) -> T {
    let caller = Caller::Thread(Mutex::default());
    let mut call = pin!(call(&caller));
    // A call that does not have to wait allocates nothing.
    if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return answer;
    }
    let parker = Arc::<Parker>::default();
    let waker = Waker::from(Arc::clone(&parker));
    loop {
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => parker.park(caller.take_deadline()),
        }
    }
}

impl Caller {
    /// A wait until `at`, which begins when it is first polled.
    pub(crate) fn until(&self, at: impl Into<Deadline>) -> Limit<'_> {
        Limit {
            caller: self,
            at: at.into(),
            #[cfg(feature = "async")]
            wait: None,
            alarm: None,
        }
    }

    /// Until when to park; the next poll registers its deadlines again.
    fn take_deadline(&self) -> Option<Instant> {
        match self {
            Self::Thread(deadline) => lock(deadline).take(),
            #[cfg(feature = "async")]
            Self::Task(_) => None,
            Self::Turns(_) => None,
        }
    }
}

impl Limit<'_> {
    /// When it ends.
    pub(crate) const fn at(&self) -> &Deadline {
        &self.at
    }

    /// Whether the caller may block briefly.
    pub(crate) const fn may_block(&self) -> bool {
        matches!(self.caller, Caller::Thread(_))
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // No timer for a deadline that has passed.
        if self.at.is_over() {
            return Poll::Ready(());
        }
        match (self.caller, self.at.instant()) {
            (Caller::Turns(alarms), _) => {
                alarms.set(&mut self.alarm, self.at.moment(), context);
                Poll::Pending
            }
            // By a clock that only the application reads, neither a thread nor the timer can wait.
            (_, None) => Poll::Ready(()),
            (Caller::Thread(deadline), Some(at)) => {
                let mut deadline = lock(deadline);
                *deadline = Some(deadline.map_or(at, |earliest| earliest.min(at)));
                Poll::Pending
            }
            #[cfg(feature = "async")]
            (Caller::Task(timer), Some(at)) => timer.poll(&mut self.wait, at, context),
        }
    }
}

impl Parker {
    /// Blocks until the next wake, or until `until`.
    fn park(&self, until: Option<Instant>) {
        let mut woken = lock(&self.woken);
        while !*woken {
            let Some(until) = until else {
                woken = self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            woken = self.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *woken = false;
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_thread_waits_for_the_earliest_of_its_deadlines() {
        let (now, ended) = (Instant::now(), Mutex::new(Vec::new()));
        blocking(async |caller| {
            let mut limits: Vec<_> = [PATIENCE, Duration::ZERO, Duration::from_millis(1)]
                .map(|wait| caller.until(now + wait))
                .into();
            poll_fn(|context| {
                let over = limits.iter_mut().map(|limit| limit.poll(context).is_ready()).collect::<Vec<_>>();
                let done = over[2];
                ended.lock().unwrap().push(over);
                if done { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
        assert_eq!(ended.into_inner().unwrap().last().unwrap(), &[false, true, true]);
    }

    #[test]
    fn a_wake_between_two_polls_is_not_lost() {
        let mut looks = 0;
        blocking(async |_| {
            poll_fn(|context| {
                looks += 1;
                // Before the thread parks.
                context.waker().wake_by_ref();
                if looks == 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
        assert_eq!(looks, 3);
    }
}
