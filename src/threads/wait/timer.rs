//! The timer: one thread that ends tasks' waits at their deadlines.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};

use crate::engine::{Pending, Reply, question};
use crate::error::StartError;
use crate::threads::Worker;

/// A core's only timer: started by the first wait that is not over at once; after [`stop`](Self::stop) it
/// runs only as long as a task is waiting. An actor could not enforce the deadlines of its own answers: the
/// one that is late is the one that hangs.
#[derive(Clone, Default)]
pub(crate) struct TimerHandle(Arc<Mutex<Started>>);

#[derive(Default)]
struct Started {
    stopped: bool,
    /// Keeps the thread running between waits.
    kept: Option<Arc<TimerInbox>>,
    /// The running thread, which the waits keep alive too.
    at_work: Weak<TimerInbox>,
}

/// The sender to the thread, which ends when the last of these is dropped.
struct TimerInbox {
    /// Unbounded, since callers must not block here; the thread takes commands out as they arrive.
    commands: Sender<TimerCommand>,
    next: AtomicU64,
}

/// A moment, and a number to distinguish waits for the same moment.
type Key = (Instant, u64);

enum TimerCommand {
    Set(Key, Reply<()>),
    /// The wait has ended early.
    Clear(Key),
}

/// A wait registered with the timer.
pub(crate) struct Wait {
    inbox: Arc<TimerInbox>,
    key: Key,
    over: Pending<()>,
}

#[derive(Default)]
struct Timer {
    waits: BTreeMap<Key, Reply<()>>,
}

impl TimerHandle {
    /// Polls a wait, which begins with its first poll. If no thread can be started, it is over at once: a
    /// call that cannot keep its deadline does not wait.
    pub(super) fn poll(&self, wait: &mut Option<Wait>, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        if wait.is_none() {
            match self.inbox() {
                Ok(inbox) => *wait = Some(inbox.set(at)),
                Err(error) => logged!(error, "the timer cannot start, so tasks do not wait: {error}"),
            }
        }
        wait.as_mut().map_or(Poll::Ready(()), |wait| Pin::new(&mut wait.over).poll(context).map(|_| ()))
    }

    /// Lets the thread end after the last wait.
    pub(crate) fn stop(&self) {
        let mut started = self.lock();
        started.stopped = true;
        let kept = started.kept.take();
        drop(started);
        drop(kept);
    }

    /// Whether the thread was ever started.
    #[cfg(test)]
    pub(crate) fn has_started(&self) -> bool {
        !Weak::ptr_eq(&self.lock().at_work, &Weak::new())
    }

    fn inbox(&self) -> Result<Arc<TimerInbox>, StartError> {
        let mut started = self.lock();
        if let Some(inbox) = started.at_work.upgrade() {
            return Ok(inbox);
        }
        let (commands, taken) = unbounded();
        // Never joined: it ends by itself, and holds nothing but wakers.
        Worker::start("convert-timer", move || run(&taken))?;
        let inbox = Arc::new(TimerInbox { commands, next: AtomicU64::new(0) });
        started.at_work = Arc::downgrade(&inbox);
        started.kept = (!started.stopped).then(|| Arc::clone(&inbox));
        Ok(inbox)
    }

    fn lock(&self) -> MutexGuard<'_, Started> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimerInbox {
    fn set(self: Arc<Self>, at: Instant) -> Wait {
        let key = (at, self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, over) = question();
        // A reply that could not be sent is dropped, which ends the wait.
        let _ = self.commands.send(TimerCommand::Set(key, reply));
        Wait { inbox: self, key, over }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let _ = self.inbox.commands.send(TimerCommand::Clear(self.key));
    }
}

fn run(commands: &Receiver<TimerCommand>) {
    let mut timer = Timer::default();
    loop {
        let tick = timer.next().map_or_else(never, at);
        select! {
            recv(commands) -> command => match command {
                Ok(command) => timer.command(command),
                Err(_) => return,
            },
            recv(tick) -> _ => timer.over(Instant::now()).into_iter().for_each(|reply| reply.send(())),
        }
    }
}

impl Timer {
    fn command(&mut self, command: TimerCommand) {
        match command {
            TimerCommand::Set(key, reply) => drop(self.waits.insert(key, reply)),
            TimerCommand::Clear(key) => drop(self.waits.remove(&key)),
        }
    }

    /// When the first wait ends.
    fn next(&self) -> Option<Instant> {
        self.waits.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes the waits that have ended by now.
    fn over(&mut self, now: Instant) -> Vec<Reply<()>> {
        let mut over = Vec::new();
        while let Some(first) = self.waits.first_entry()
            && first.key().0 <= now
        {
            over.push(first.remove());
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::super::Caller;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_end_in_order_and_cleared_ones_are_removed() {
        let (mut timer, now) = (Timer::default(), Instant::now());
        let mut answers = Vec::new();
        for (number, wait) in [3, 1, 2, 1].into_iter().enumerate() {
            let (reply, over) = question();
            timer.command(TimerCommand::Set((now + wait * SECOND, number as u64), reply));
            answers.push(over);
        }
        assert_eq!(timer.next(), Some(now + SECOND));
        timer.command(TimerCommand::Clear((now + SECOND, 3)));
        assert_eq!(timer.over(now).len(), 0);
        assert_eq!(timer.over(now + SECOND).len(), 1);
        assert_eq!(timer.next(), Some(now + 2 * SECOND));
        assert_eq!(timer.over(now + 9 * SECOND).len(), 2);
        assert_eq!(timer.next(), None);
    }

    #[test]
    fn an_expired_or_endless_wait_starts_no_thread() {
        let (timer, mut context) = (TimerHandle::default(), Context::from_waker(Waker::noop()));
        let task = Caller::Task(timer.clone());
        assert!(task.until(Instant::now()).poll(&mut context).is_ready());
        drop(task.until(Instant::now() + 1_000 * SECOND));
        assert!(!timer.has_started());
    }

    /// Any number of waits share one thread, even after the stop.
    #[test]
    fn the_thread_lives_as_long_as_any_wait() {
        let (timer, mut context) = (TimerHandle::default(), Context::from_waker(Waker::noop()));
        let task = Caller::Task(timer.clone());
        let mut wait = || {
            let mut limit = task.until(Instant::now() + 1_000 * SECOND);
            assert!(limit.poll(&mut context).is_pending());
            limit
        };
        let before = wait();
        let thread = timer.lock().at_work.clone();
        timer.stop();
        let after: Vec<_> = (0..100).map(|_| wait()).collect();
        drop(before);
        assert!(Weak::ptr_eq(&thread, &timer.lock().at_work));
        assert_eq!(thread.strong_count(), 100);
        drop(after);
        assert_eq!(thread.strong_count(), 0, "its sender is gone, so it ends");
        assert!(timer.lock().kept.is_none());
    }
}
