//! The timer: one thread that ends the waits of tasks at their deadlines.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};

use super::{Answer, question};
use crate::actors::reply::Reply;
use crate::actors::thread::Worker;
use crate::error::StartError;

/// The way to the timer. The thread ends when the last of these and of the waits is gone. No actor
/// could keep the deadlines of its own answers: the one that is late is the one that hangs.
#[derive(Clone)]
pub(crate) struct TimerHandle {
    /// Without a bound, as nobody may wait here; the thread takes commands out as they come.
    inbox: Sender<TimerCommand>,
    next: Arc<AtomicU64>,
}

/// A moment, and a number that tells waits for the same one apart.
type Key = (Instant, u64);

enum TimerCommand {
    Set(Key, Reply<()>),
    /// The wait is over early.
    Clear(Key),
}

/// A task's wait.
pub(crate) enum Limit {
    /// For a moment; set when first polled.
    Until { timer: TimerHandle, at: Instant, set: Option<(Key, Answer<()>)> },
    /// For nothing, so that there is no end to it.
    Endless,
    /// Without a timer: over at once.
    Over,
}

#[derive(Default)]
struct Timer {
    waits: BTreeMap<Key, Reply<()>>,
}

impl TimerHandle {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self, StartError> {
        let (inbox, commands) = unbounded();
        // Nobody joins it: it ends by itself, and holds nothing but wakers.
        Worker::start("convert-timer", move || run(&commands))?;
        Ok(Self { inbox, next: Arc::default() })
    }

    /// A wait until then, which begins when it is first polled.
    pub(crate) fn until(&self, at: Instant) -> Limit {
        Limit::Until { timer: self.clone(), at, set: None }
    }

    fn set(&self, at: Instant) -> (Key, Answer<()>) {
        let key = (at, self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, over) = question();
        // A reply that comes back unsent is dropped, which ends the wait.
        let _ = self.inbox.send(TimerCommand::Set(key, reply));
        (key, over)
    }
}

impl Limit {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Until { timer, at, set } => {
                let (_, over) = set.get_or_insert_with(|| timer.set(*at));
                Pin::new(over).poll(context).map(|_| ())
            }
            Self::Endless => Poll::Pending,
            Self::Over => Poll::Ready(()),
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Self::Until { timer, set: Some((key, _)), .. } = self {
            let _ = timer.inbox.send(TimerCommand::Clear(*key));
        }
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

    /// Takes out the waits that have ended by now.
    fn over(&mut self, now: Instant) -> Vec<Reply<()>> {
        let later = self.waits.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.waits, later).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_end_in_order_and_cleared_ones_leave_nothing() {
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
    fn without_a_timer_a_wait_is_over_and_without_an_end_it_is_never() {
        let mut context = Context::from_waker(Waker::noop());
        assert!(Limit::Over.poll(&mut context).is_ready());
        assert!(Limit::Endless.poll(&mut context).is_pending());
    }

    #[test]
    fn the_thread_lives_as_long_as_a_wait_does() {
        let timer = TimerHandle::start().unwrap();
        let inbox = timer.inbox.clone();
        let mut limit = timer.until(Instant::now() + 1_000 * SECOND);
        let mut context = Context::from_waker(Waker::noop());
        assert!(limit.poll(&mut context).is_pending());
        drop((timer, limit));
        // Set, then cleared: nothing is left to wait for but the channel's end.
        let (reply, over) = question();
        inbox.send(TimerCommand::Set((Instant::now(), u64::MAX), reply)).unwrap();
        let mut over = over;
        while Pin::new(&mut over).poll(&mut context).is_pending() {
            std::thread::yield_now();
        }
    }
}
