//! The previewer: fetches experiences that the config does not contain, on a thread of its own so that no
//! refresh waits for a preview.

use smol_str::SmolStr;

use super::clock::Clock;
use super::fetcher::Fetcher;
use super::inbox::{ActorHandle, Inbox};
use super::wait::Limit;
use super::worker::Worker;
use crate::engine::{Previewed, Previews};
use crate::error::StartError;

/// The handle to the previewer. Dropping it ends the thread after the fetch in progress.
pub(crate) struct PreviewerHandle(ActorHandle<SmolStr, Previewed>);

impl PreviewerHandle {
    /// Starts the thread.
    pub(crate) fn start(fetcher: Fetcher) -> Result<Self, StartError> {
        ActorHandle::start("convert-preview", move |inbox| run(&fetcher, inbox)).map(Self)
    }

    /// Requests one experience and waits for it; `None` if the deadline passed first, or after the close.
    pub(crate) async fn experience(&self, id: &str, limit: &mut Limit<'_>) -> Option<Previewed> {
        self.0.ask(id.into(), limit).await
    }

    /// Tells the thread to end after the fetch in progress.
    pub(crate) fn stop(&self) {
        self.0.close();
    }

    /// The thread.
    pub(crate) const fn worker(&self) -> &Worker {
        self.0.worker()
    }
}

fn run(fetcher: &Fetcher, inbox: &Inbox<SmolStr, Previewed>) {
    let (mut previews, clock) = (Previews::default(), Clock::start());
    while let Some((id, reply)) = inbox.next() {
        if let Some(known) = previews.remembered(&id, clock.now()) {
            reply.send(Ok(known));
            continue;
        }
        let answer = previews.learn(&id, fetcher.experience(&id), clock.now());
        // One fetch answers everyone waiting for it, even with a failure, which is not remembered.
        for (_, other) in inbox.take(|asked| *asked == id) {
            other.send(answer.clone());
        }
        reply.send(answer);
    }
}
