//! Runs the application's futures on an SDK thread, without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crossbeam_channel::{Sender, at, bounded, select};

use crate::threads::{Current, PerProcess, Switch};

/// Blocks on futures on the calling thread, which belongs to the SDK and has nothing else to do.
pub(crate) struct Driver {
    /// A forked child has its own: the parent's may be locked or interrupted.
    switch: PerProcess<Switch>,
}

/// Why a future was dropped before it finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Late,
    Interrupted,
}

/// Wakes the thread with a message; one pending message is enough.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.0.try_send(());
    }
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self { switch: PerProcess::new(Switch::new()) }
    }

    fn switch(&self) -> Current<'_, Switch> {
        self.switch.get(|_| Switch::new(), |_| {})
    }

    /// Blocks until the future finishes, the deadline passes, or an interrupt.
    pub(crate) fn block_on<F: Future>(&self, future: F, deadline: Instant) -> Result<F::Output, Stopped> {
        let (bell, rung) = bounded(1);
        let waker = Waker::from(Arc::new(Bell(bell)));
        let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
        let (late, switch) = (at(deadline), self.switch());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            select! {
                recv(rung) -> _ => {}
                recv(switch.off()) -> _ => return Err(Stopped::Interrupted),
                recv(late) -> _ => return Err(Stopped::Late),
            }
        }
    }

    /// Ends current waits, and later ones as soon as they would block.
    pub(crate) fn interrupt(&self) {
        self.switch().switch_off();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn a_future_completes_whether_woken_at_once_or_elsewhere() {
        let driver = Driver::new();
        let mut left = 3;
        let at_once = poll_fn(|context| {
            context.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready(7) } else { Poll::Pending }
        });
        assert_eq!(driver.block_on(at_once, later()), Ok(7));
        let (hand, handed) = bounded::<Waker>(1);
        let (done, is_done) = bounded(1);
        let waking = std::thread::spawn(move || {
            let waker = handed.recv().unwrap();
            done.send(8).unwrap();
            waker.wake();
        });
        let elsewhere = poll_fn(|context| {
            let _ = hand.try_send(context.waker().clone());
            is_done.try_recv().map_or(Poll::Pending, Poll::Ready)
        });
        assert_eq!(driver.block_on(elsewhere, later()), Ok(8));
        waking.join().unwrap();
    }

    #[test]
    fn a_deadline_or_an_interrupt_ends_the_wait() {
        let driver = Driver::new();
        assert_eq!(driver.block_on(pending::<()>(), Instant::now()), Err(Stopped::Late));
        std::thread::scope(|scope| {
            scope.spawn(|| driver.interrupt());
            assert_eq!(driver.block_on(pending::<()>(), later()), Err(Stopped::Interrupted));
        });
        assert_eq!(driver.block_on(pending::<()>(), later()), Err(Stopped::Interrupted));
    }
}
