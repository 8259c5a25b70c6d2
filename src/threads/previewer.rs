//! The previewer: fetches experiences that the config does not contain, apart from the refresher so that no
//! refresh waits for a preview.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use super::clock::Clock;
use super::fetcher::Fetcher;
use super::inbox::{ActorHandle, Inbox};
use super::wait::Limit;
use super::worker::{Running, Worker};
use crate::config::ConfigSnapshot;
use crate::engine::{Moment, Previewed, Previews, Reply};
use crate::error::{LoadError, StartError};

/// How long a failed fetch is remembered for callers that cannot wait for it: they ask again in each frame.
const FAILURE_LIFE: Duration = Duration::from_secs(5);
/// The most failed fetches remembered.
const FAILURES: usize = 64;

/// The handle to the previewer. Dropping it ends the previewer after the fetch in progress.
pub(crate) struct PreviewerHandle {
    actor: ActorHandle<SmolStr, Previewed>,
    known: Known,
}

/// The results of earlier fetches, which callers read too.
#[derive(Clone)]
struct Known {
    previews: Arc<Mutex<Previews>>,
    failures: Arc<Mutex<Failures>>,
    clock: Clock,
}

/// Failed fetches, and when they ended.
type Failures = HashMap<SmolStr, (Moment, LoadError)>;

/// The inbox and the earlier results; whoever drives it makes the fetches.
pub(crate) struct PreviewerTurns {
    known: Known,
    inbox: Arc<Inbox<SmolStr, Previewed>>,
    /// Lives as long as this, where there is no thread.
    _running: Option<Running>,
}

/// A fetch of one experience to be made, and who waits for it.
pub(crate) struct Wanted {
    pub(crate) id: SmolStr,
    reply: Reply<Previewed>,
}

impl PreviewerHandle {
    /// Starts the thread.
    pub(crate) fn start(fetcher: Fetcher, clock: Clock) -> Result<Self, StartError> {
        let known = Known::new(clock);
        let thread = known.clone();
        let actor = ActorHandle::start("convert-preview", move |inbox| {
            run(&PreviewerTurns { known: thread, inbox: Arc::clone(inbox), _running: None }, &fetcher);
        })?;
        Ok(Self { actor, known })
    }

    /// A previewer that whoever holds the second value drives.
    pub(crate) fn threadless(clock: Clock) -> (Self, PreviewerTurns) {
        let known = Known::new(clock);
        let (actor, inbox, running) = ActorHandle::threadless("the previewer");
        let turns = PreviewerTurns { known: known.clone(), inbox, _running: Some(running) };
        (Self { actor, known }, turns)
    }

    /// Requests one experience and waits for it; `None` if the deadline passed first, or after the close.
    pub(crate) async fn experience(&self, id: &str, limit: &mut Limit<'_>) -> Option<Previewed> {
        match self.known.of(id) {
            Some(known) => Some(Ok(known)),
            None => self.actor.ask(id.into(), limit).await,
        }
    }

    /// One experience if it is at hand, or why it could not be fetched a moment ago; requests it otherwise.
    pub(crate) fn experience_at_once(&self, id: &str) -> Option<Previewed> {
        let known = self.known.of(id).map(Ok).or_else(|| self.known.failure(id).map(Err));
        if known.is_none() {
            self.actor.ask_in_passing(id.into());
        }
        known
    }

    /// Ends the previewer after the fetch in progress.
    pub(crate) fn stop(&self) {
        self.actor.close();
    }

    /// The thread, if it has one.
    pub(crate) const fn worker(&self) -> &Worker {
        self.actor.worker()
    }
}

impl Known {
    fn new(clock: Clock) -> Self {
        Self { previews: Arc::default(), failures: Arc::default(), clock }
    }

    fn of(&self, id: &str) -> Option<Option<Arc<ConfigSnapshot>>> {
        lock(&self.previews).remembered(id, self.clock.now())
    }

    fn failure(&self, id: &str) -> Option<LoadError> {
        let failures = lock(&self.failures);
        let (at, error) = failures.get(id)?;
        (self.clock.now() - *at < FAILURE_LIFE).then(|| error.clone())
    }

    /// Remembers the result of a fetch.
    fn learn(&self, id: &SmolStr, answer: Result<Arc<ConfigSnapshot>, LoadError>) -> Previewed {
        let now = self.clock.now();
        let answer = lock(&self.previews).learn(id, answer, now);
        let mut failures = lock(&self.failures);
        failures.retain(|of, (at, _)| of != id && now - *at < FAILURE_LIFE);
        if let Err(error) = &answer
            && failures.len() < FAILURES
        {
            failures.insert(id.clone(), (now, error.clone()));
        }
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PreviewerTurns {
    /// Whether the handle has been dropped, or has asked for the end.
    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Whether anyone has asked for an experience.
    pub(crate) fn is_due(&self) -> bool {
        self.inbox.has_questions()
    }

    /// The next fetch to be made. Whoever has stopped waiting may ask again, and then finds the result.
    pub(crate) fn next(&self) -> Option<Wanted> {
        loop {
            let (id, reply) = self.inbox.pop()?;
            match self.known.of(&id) {
                Some(known) => reply.send(Ok(known)),
                None => return Some(Wanted { id, reply }),
            }
        }
    }

    /// The fetch has ended: answers everyone waiting for it, even with a failure, which only callers that cannot wait
    /// find again.
    pub(crate) fn answered(&self, wanted: Wanted, answer: Result<Arc<ConfigSnapshot>, LoadError>) {
        let Wanted { id, reply } = wanted;
        let answer = self.known.learn(&id, answer);
        for (_, other) in self.inbox.take(|asked| *asked == id) {
            other.send(answer.clone());
        }
        reply.send(answer);
    }
}

/// The thread: waits, and makes the fetches.
fn run(turns: &PreviewerTurns, fetcher: &Fetcher) {
    while !turns.is_closed() {
        match turns.next() {
            // Nobody waits any more.
            Some(wanted) if wanted.reply.is_abandoned() => {}
            Some(wanted) => {
                let answer = fetcher.experience(&wanted.id);
                turns.answered(wanted, answer);
            }
            // Cannot fail, since the inbox owns the other end too.
            None => drop(turns.inbox.signal().recv()),
        }
    }
}
