//! The refresher: fetches configs, installs the good ones, and waits longer after each failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use crossbeam_channel::select;

use super::Notifier;
use super::clock::Clock;
use super::fetcher::Fetcher;
use super::inbox::{ActorHandle, Inbox};
use super::wait::Limit;
use super::worker::Worker;
use crate::config::SnapshotCell;
use crate::engine::{Jitter, RefreshEffect, RefreshEvent, RefreshKind, Refreshed, Refresher};
use crate::error::StartError;

/// The handle to the refresher. Dropping it ends the thread after the fetch in progress.
pub(crate) struct RefresherHandle {
    actor: ActorHandle<RefreshKind, Refreshed>,
    /// A caller has requested a fetch without waiting for it.
    wanted: Arc<AtomicBool>,
}

/// The refresher's settings.
pub(crate) struct RefresherSettings {
    pub(crate) cell: Arc<SnapshotCell>,
    /// When the config in place was fetched or confirmed.
    pub(crate) confirmed_at: Arc<ArcSwapOption<SystemTime>>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) jitter: Jitter,
}

impl RefresherHandle {
    /// Starts the thread.
    pub(crate) fn start(fetcher: Fetcher, settings: RefresherSettings) -> Result<Self, StartError> {
        let RefresherSettings { cell, confirmed_at, notifier, jitter } = settings;
        let policy = fetcher.tuning.refresh.clone();
        // A forked child already has a config.
        let clock = Clock::start();
        let refresher = Refresher::new(policy, jitter, (cell.load(), cell.etag()), clock.now());
        let wanted = Arc::<AtomicBool>::default();
        let asked = Arc::clone(&wanted);
        let actor = ActorHandle::start("convert-refresher", move |inbox| {
            let wanted = &asked;
            RefresherThread { refresher, clock, fetcher, cell, confirmed_at, notifier, wanted, inbox }.run();
        })?;
        Ok(Self { actor, wanted })
    }

    /// Requests a fetch without waiting. A fetch in progress satisfies the request.
    pub(crate) fn refresh_soon(&self) {
        self.wanted.store(true, Ordering::Release);
        self.actor.notify();
    }

    /// Requests a fetch and waits for it to end; `None` if the deadline passed first, or after the close. A
    /// fetch in progress satisfies the request.
    pub(crate) async fn refresh(&self, limit: &mut Limit<'_>) -> Option<Refreshed> {
        self.actor.ask(RefreshKind::Current, limit).await
    }

    /// Like [`refresh`](Self::refresh), but satisfied by a config already in place.
    pub(crate) async fn initialize(&self, limit: &mut Limit<'_>) -> Option<Refreshed> {
        self.actor.ask(RefreshKind::Ready, limit).await
    }

    /// Tells the thread to end after the fetch in progress.
    pub(crate) fn stop(&self) {
        self.actor.close();
    }

    /// The thread.
    pub(crate) const fn worker(&self) -> &Worker {
        self.actor.worker()
    }
}

/// Carries out the state machine's effects.
struct RefresherThread<'a> {
    refresher: Refresher,
    clock: Clock,
    fetcher: Fetcher,
    cell: Arc<SnapshotCell>,
    confirmed_at: Arc<ArcSwapOption<SystemTime>>,
    notifier: Arc<Notifier>,
    wanted: &'a AtomicBool,
    inbox: &'a Inbox<RefreshKind, Refreshed>,
}

impl RefresherThread<'_> {
    fn run(mut self) {
        while !self.inbox.is_closed() {
            if let Some((kind, reply)) = self.inbox.pop() {
                self.turn(RefreshEvent::Asked(kind, reply));
            } else if self.wanted.swap(false, Ordering::Acquire) {
                self.turn(RefreshEvent::Wanted);
            } else {
                let tick = self.clock.alarm(self.refresher.next());
                select! {
                    recv(self.inbox.signal()) -> _ => {}
                    recv(tick) -> _ => self.turn(RefreshEvent::Tick),
                }
            }
        }
    }

    fn turn(&mut self, event: RefreshEvent) {
        for effect in self.refresher.turn(event, self.clock.now()) {
            match effect {
                RefreshEffect::Fetch(etag) => {
                    let answer = self.fetcher.config(etag.as_deref());
                    // It answers everyone who has asked in the meantime.
                    self.wanted.store(false, Ordering::Release);
                    while let Some((kind, reply)) = self.inbox.pop() {
                        self.turn(RefreshEvent::Asked(kind, reply));
                    }
                    self.turn(RefreshEvent::Answered(answer));
                }
                RefreshEffect::Publish(snapshot, etag) => drop(self.cell.publish(snapshot, etag)),
                RefreshEffect::Confirm => self.confirmed_at.store(Some(Arc::new(SystemTime::now()))),
                RefreshEffect::Announce(event) => self.notifier.notify(event),
                RefreshEffect::Answer(reply, outcome) => reply.send(outcome),
            }
        }
    }
}
