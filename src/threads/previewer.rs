//! The previewer: fetches experiences that the config does not have, apart from the refresher so that
//! no refresh waits for a preview.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::fetcher::Fetcher;
use super::inbox::{Desk, Inbox};
use super::wait::Limit;
use super::worker::Worker;
use crate::config::{CompileOptions, ConfigSnapshot, SnapshotExt};
use crate::engine::compile;
use crate::error::{LoadError, StartError};
use crate::ports::{ConfigResponse, TransportError};

/// How long a previewed experience is kept after its fetch, as in the official SDKs.
const PREVIEW_LIFE: Duration = Duration::from_secs(60);
/// Previewed experiences kept at most; ids come from links that anyone can write.
const PREVIEWS: usize = 64;
/// How long it is remembered that there is no such experience: it may be saved a moment later.
const MISS_LIFE: Duration = Duration::from_secs(5);
/// Ids without an experience that are remembered at most.
const MISSES: usize = 256;

/// The way to the previewer. Dropping it ends the thread after the fetch at hand.
pub(crate) struct PreviewerHandle(Desk<SmolStr, Previewed>);

/// A config with the experience; `None` where the server has no such experience.
pub(crate) type Previewed = Result<Option<Arc<ConfigSnapshot>>, LoadError>;

/// What is remembered of earlier fetches. Failures are not.
struct Previews {
    compile: CompileOptions,
    found: HashMap<SmolStr, (Instant, Arc<ConfigSnapshot>)>,
    missed: HashMap<SmolStr, Instant>,
}

impl PreviewerHandle {
    /// Starts the thread.
    pub(crate) fn start(fetcher: Fetcher) -> Result<Self, StartError> {
        Desk::start("convert-preview", move |inbox| run(&fetcher, inbox)).map(Self)
    }

    /// Asks for one experience and waits for it; `None` where the deadline passed first, or after
    /// the close.
    pub(crate) async fn experience(&self, id: &str, limit: &mut Limit<'_>) -> Option<Previewed> {
        self.0.ask(id.into(), limit).await
    }

    /// Tells the thread to end after the fetch at hand.
    pub(crate) fn stop(&self) {
        self.0.close();
    }

    /// The thread.
    pub(crate) const fn worker(&self) -> &Worker {
        self.0.worker()
    }
}

fn run(fetcher: &Fetcher, inbox: &Inbox<SmolStr, Previewed>) {
    let mut previews = Previews::new(fetcher.compile);
    while let Some((id, reply)) = inbox.next() {
        if let Some(known) = previews.remembered(&id, Instant::now()) {
            reply.send(Ok(known));
            continue;
        }
        let answer = previews.learn(&id, fetcher.experience(&id), Instant::now());
        // One fetch answers everybody who waits for it, also by a failure, which is not remembered.
        for (_, other) in inbox.take(|asked| *asked == id) {
            other.send(answer.clone());
        }
        reply.send(answer);
    }
}

impl Previews {
    fn new(compile: CompileOptions) -> Self {
        Self { compile, found: HashMap::new(), missed: HashMap::new() }
    }

    /// What an earlier fetch has said; `None` where one is needed.
    fn remembered(&self, id: &str, now: Instant) -> Option<Option<Arc<ConfigSnapshot>>> {
        if let Some((fetched, snapshot)) = self.found.get(id)
            && now.duration_since(*fetched) < PREVIEW_LIFE
        {
            return Some(Some(Arc::clone(snapshot)));
        }
        let missed = self.missed.get(id)?;
        (now.duration_since(*missed) < MISS_LIFE).then_some(None)
    }

    /// The source has answered.
    fn learn(
        &mut self,
        id: &SmolStr,
        answer: Result<ConfigResponse, TransportError>,
        now: Instant,
    ) -> Previewed {
        let ConfigResponse::Fetched { body, .. } = answer? else {
            return Err(LoadError::Fetch(TransportError::Protocol));
        };
        let snapshot = compile(body, &self.compile)?;
        self.found.retain(|_, (fetched, _)| now.duration_since(*fetched) < PREVIEW_LIFE);
        self.missed.retain(|_, missed| now.duration_since(*missed) < MISS_LIFE);
        if snapshot.experience_index_by_id(id).is_none() {
            if self.missed.len() < MISSES {
                self.missed.insert(id.clone(), now);
            }
            return Ok(None);
        }
        if self.found.len() < PREVIEWS {
            self.found.insert(id.clone(), (now, Arc::clone(&snapshot)));
        }
        Ok(Some(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::served;

    const SECOND: Duration = Duration::from_secs(1);

    fn previews() -> Previews {
        Previews::new(CompileOptions::default())
    }

    #[test]
    fn a_previewed_experience_is_kept_for_60_seconds() {
        let (mut previews, now) = (previews(), Instant::now());
        assert!(previews.learn(&"7".into(), served("1", "7"), now).unwrap().is_some());
        assert!(previews.remembered("7", now + 59 * SECOND).flatten().is_some());
        assert!(previews.remembered("7", now + 60 * SECOND).is_none());
        assert!(previews.remembered("8", now).is_none());
    }

    #[test]
    fn that_there_is_no_such_experience_is_kept_for_5_seconds() {
        let (mut previews, now) = (previews(), Instant::now());
        assert!(previews.learn(&"8".into(), served("1", "7"), now).unwrap().is_none());
        assert!(matches!(previews.remembered("8", now + 4 * SECOND), Some(None)));
        assert!(previews.remembered("8", now + 5 * SECOND).is_none());
    }

    #[test]
    fn a_preview_that_failed_is_not_remembered() {
        let (mut previews, now) = (previews(), Instant::now());
        let garbage = ConfigResponse::Fetched { body: String::new(), etag: None };
        for failure in [Err(TransportError::Status(404)), Ok(ConfigResponse::NotModified), Ok(garbage)] {
            assert!(previews.learn(&"8".into(), failure, now).is_err());
            assert!(previews.remembered("8", now).is_none());
        }
    }

    #[test]
    fn links_that_anyone_can_write_do_not_fill_memory() {
        let (mut previews, now) = (previews(), Instant::now());
        for id in 0..1_000 {
            let id = SmolStr::from(id.to_string());
            assert!(previews.learn(&id, served("1", &id), now).is_ok());
            assert!(previews.learn(&smol_str::format_smolstr!("no-{id}"), served("1", "x"), now).is_ok());
        }
        assert_eq!((previews.found.len(), previews.missed.len()), (PREVIEWS, MISSES));
        assert!(previews.learn(&"x".into(), served("1", "x"), now + PREVIEW_LIFE).is_ok());
        assert_eq!((previews.found.len(), previews.missed.len()), (1, 0), "what is over makes room");
    }
}
