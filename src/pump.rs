//! For loops: a core without threads, whose work is done in turns that the application gives it.

#[cfg(feature = "https")]
mod carrier;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::config::RefreshOutcome;
use crate::core::{Core, CoreBuilder};
use crate::delivery::{FlushOptions, FlushReport};
use crate::engine::{self, Pending, ReleaseReason, Stats};
use crate::error::{FlushError, InitializeError, PumpError, RefreshError};
use crate::threads::{Caller, Clock, generation};
use crate::turns::{Begun, Errand, Turns};

pub use crate::threads::HostClock;
pub use crate::turns::{Answer, PumpReport, Request, RequestId};
#[cfg(feature = "https")]
pub use carrier::Carrier;

/// Does the work of a core that has no threads, from [`CoreBuilder::pumped`](crate::CoreBuilder::pumped). Call
/// [`turn`](Self::turn) in each round of the application's loop, carry the requests that
/// [`next_request`](Self::next_request) hands out, and bring each response to [`answer`](Self::answer), or have a
/// `Carrier` do both on two threads (feature `https`). Nothing blocks and no other thread is started. Turns may be late,
/// early or missing: late ones make larger batches.
///
/// Events are recorded through the [`Core`] and its contexts as usual, from any thread. Calls that wait in a
/// core with threads are [`Question`]s here, answered by a later turn; the core's own versions of them return
/// `WouldBlock`.
///
/// **Dropping the pump closes the core and delivers nothing**, like dropping the last core otherwise. End
/// with [`shutdown`](Self::shutdown), and keep giving turns until it is answered.
///
/// # Forks
/// A child can use core and pump as they are. It starts with an empty queue and no requests; the parent
/// answers its own, and answers to them are ignored in the child.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::pump::Answer;
/// use convert_sdk::{Core, SdkConfig, attributes};
///
/// # let served = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/small.json"));
/// let config = SdkConfig::game_loop("10035569/10034190").build()?;
/// let (core, mut pump) = Core::builder(config).pumped()?;
/// let mut ready = pump.initialize();
/// for _frame in 0..3 {
///     pump.turn(Duration::from_micros(200));
///     while let Some(request) = pump.next_request() {
///         assert_eq!(request.method, "GET");
///         // The application's client sends it; the response may come in any later frame.
///         let response = Answer::response(200).body(served);
///         pump.answer(request.id, response);
///     }
/// }
/// assert_eq!(ready.check(), Some(Ok(())));
/// let player = core.create_context("player-1", attributes! { "plan" => "pro" })?;
/// assert!(player.run_experience("checkout").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pump {
    core: Core,
    turns: Option<Turns>,
    generation: u64,
}

/// An answer that a later turn of the pump gives. It is also a future, woken by that turn. The turns do what was asked
/// for, whether or not anyone looks at the question: dropping it only ends the wait. A forked child never learns the
/// answer to its parent's question.
#[must_use = "a question is answered later: check it in a later turn, or await it"]
pub struct Question<T> {
    /// `None` once taken.
    answer: Option<Pending<T>>,
    generation: u64,
}

impl CoreBuilder {
    /// Builds a core without threads, and the pump whose turns do its work; see [`Pump`]. Handlers are called in those
    /// turns. Visitors are remembered in memory alone.
    ///
    /// # Errors
    /// The configuration has something that would block: a data store, an outbox, a config cache, or
    /// [`OverflowPolicy::Wait`](crate::delivery::OverflowPolicy::Wait); or the builder has a source or sink of its own,
    /// which a pump would never call.
    pub fn pumped(self) -> Result<(Core, Pump), PumpError> {
        self.threadless(Clock::start()).map(Pump::beside)
    }

    /// Like [`pumped`](Self::pumped), by the application's clock.
    ///
    /// # Errors
    /// Like [`pumped`](Self::pumped).
    pub fn pumped_by(self, clock: impl HostClock) -> Result<(Core, Pump), PumpError> {
        self.threadless(Clock::Given(Arc::new(clock))).map(Pump::beside)
    }
}

impl Pump {
    fn beside(core: Core) -> (Core, Self) {
        let turns = core.shared().turns(None);
        (core.clone(), Self { core, turns, generation: generation() })
    }

    /// The core that this pump runs.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// Works for about `budget`, in steps of a few microseconds; if there is work, does at least one step,
    /// even with a budget of zero. Handlers of lifecycle events run in it; all those of one event are one step, however
    /// long they take. Some steps can take longer: compiling a config that has changed or is withdrawn as stale (some
    /// milliseconds for 1,000 experiences) or the response to a preview, choosing the records of a request and taking
    /// back those of a failed one (with the preset's 500 below 0.2 ms; what fills a request is left to the next turn if
    /// half of the budget is used), dropping what is left at a close, and dropping what has expired.
    ///
    /// A turn without work allocates nothing, and makes no system call except to read the clock, which
    /// usually needs none.
    pub fn turn(&mut self, budget: Duration) -> PumpReport {
        self.turns().map_or_else(PumpReport::default, |turns| turns.turn(budget))
    }

    /// The next request to carry, or `None`. Call it after each turn until there is none. At most one for the
    /// config, one for a preview and one per [lane](crate::delivery::DeliveryConfigBuilder::lanes) are
    /// outstanding at a time.
    pub fn next_request(&mut self) -> Option<Request> {
        self.turns()?.next_request(|_| true)
    }

    /// The next one with this method.
    #[cfg(feature = "https")]
    fn next_request_by(&mut self, method: &str) -> Option<Request> {
        self.turns()?.next_request(|request| request.method == method)
    }

    /// Takes the outcome of a request, which the next turns handle; returns whether it was expected. Not expected, and
    /// ignored, is a second answer, one for a request that was never handed out, and one after the turn that found the
    /// request's time limit over; an answer that is late but comes before that turn counts.
    pub fn answer(&mut self, id: RequestId, answer: Answer) -> bool {
        self.turns().is_some_and(|turns| turns.answer(id, answer))
    }

    /// Like [`Core::initialize`]: loads the first config. Direct data is compiled at once.
    pub fn initialize(&self) -> Question<Result<(), InitializeError>> {
        let timeout = self.core.shared().base.config.tuning.initialize_timeout;
        self.ask(move |core, caller| Box::pin(async move { core.get_ready(timeout, &caller).await }))
    }

    /// Like [`Core::refresh_now_within`]: fetches the config.
    pub fn refresh_now_within(&self, timeout: Duration) -> Question<Result<RefreshOutcome, RefreshError>> {
        self.ask(move |core, caller| Box::pin(async move { core.refresh(timeout, &caller).await }))
    }

    /// Like [`Core::flush`]: delivers everything recorded before this call.
    pub fn flush(&self, timeout: Duration) -> Question<Result<FlushReport, FlushError>> {
        self.flush_with(FlushOptions::within(timeout))
    }

    /// Like [`Core::flush_with`].
    pub fn flush_with(&self, options: FlushOptions) -> Question<Result<FlushReport, FlushError>> {
        self.ask(move |core, caller| {
            let limit = core.limit(options);
            Box::pin(async move { core.flush_by(ReleaseReason::Explicit, limit, &caller).await })
        })
    }

    /// Like [`Core::shutdown`]: flushes, then closes. Answered by its deadline if turns continue. If no turn comes before
    /// the deadline, responses that have arrived may come too late.
    pub fn shutdown(&self, timeout: Duration) -> Question<Result<FlushReport, FlushError>> {
        self.ask(move |core, caller| Box::pin(async move { core.shutdown_by(timeout, &caller).await }))
    }

    /// Like [`Core::close`]: stops without a flush.
    pub fn close(&self) -> Question<Stats> {
        self.ask(|core, caller| Box::pin(async move { core.close_by(&caller).await }))
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Core, Caller) -> Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Question<T> {
        let shared = self.core.shared();
        let asked = question(self.core.clone(), shared.turns_caller());
        let (reply, answer) = engine::question();
        let mut errand: Errand = Box::pin(async move { reply.send(asked.await) });
        // Begun at once, so that it covers what was recorded before and nothing later.
        if errand.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && let Some(handover) = shared.runtime().handover()
        {
            handover.add(Begun::Errand(errand));
        }
        Question { answer: Some(answer), generation: generation() }
    }

    /// The machines of this process.
    fn turns(&mut self) -> Option<&mut Turns> {
        if self.generation != generation() {
            let parents = self.turns.take();
            self.turns = self.core.shared().turns(parents.as_ref());
            // Dropping them would count and answer what belongs to the parent.
            std::mem::forget(parents);
            self.generation = generation();
        }
        self.turns.as_mut()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // A child that has given no turn has a core to close too.
        let _ = self.turns();
        self.core.shared().begin_close();
        self.turns.take().into_iter().for_each(Turns::end);
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("core", &self.core).finish_non_exhaustive()
    }
}

impl<T> Question<T> {
    /// The answer, once available; `None` before, and after it was taken.
    pub fn check(&mut self) -> Option<T> {
        match self.poll_with(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn poll_with(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if self.is_parents() {
            return Poll::Pending;
        }
        let Some(asked) = &mut self.answer else { return Poll::Pending };
        let Poll::Ready(answer) = Pin::new(asked).poll(context) else { return Poll::Pending };
        self.answer = None;
        answer.map_or(Poll::Pending, Poll::Ready)
    }

    /// In a child: another thread of the parent may have held a lock of the answer, which nobody opens here.
    fn is_parents(&self) -> bool {
        self.generation != generation()
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        if self.is_parents() {
            std::mem::forget(self.answer.take());
        }
    }
}

impl<T> Unpin for Question<T> {}

impl<T> Future for Question<T> {
    type Output = T;

    /// Never completes once [`check`](Question::check) has returned the answer.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.poll_with(context)
    }
}

impl<T> fmt::Debug for Question<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.answer.is_some() { "Question(asked)" } else { "Question(taken)" })
    }
}

impl crate::shared::Shared {
    /// The turns of this process, following its parent's if it was forked; `None` with threads.
    fn turns(&self, parents: Option<&Turns>) -> Option<Turns> {
        let runtime = self.runtime();
        let handover = Arc::clone(runtime.handover()?);
        let notifier = Arc::clone(&runtime.notifier);
        Some(match parents {
            Some(parents) => parents.inherit(notifier, handover),
            None => {
                let transport = self.base.config.transport.clone();
                Turns::new(self.base.clock.clone(), transport, notifier, handover)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_use_of_its_parents_question_touches_nothing_of_it() {
        let (reply, answer) = engine::question();
        let mut asked = Question { answer: Some(answer), generation: generation() + 1 };
        assert_eq!(asked.check(), None);
        drop(asked);
        assert!(!reply.is_abandoned(), "left to the parent");
        reply.send(7);
    }
}
