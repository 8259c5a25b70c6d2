//! The cache of previewed experiences, which the config does not contain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use super::moment::Moment;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::error::LoadError;

/// How long a previewed experience is kept after it was fetched, as in the official SDKs.
const PREVIEW_LIFE: Duration = Duration::from_secs(60);
/// The most previewed experiences kept; ids come from links that anyone can write.
const PREVIEWS: usize = 64;
/// How long a missing experience is remembered: it may be saved a moment later.
const MISS_LIFE: Duration = Duration::from_secs(5);
/// The most missing ids remembered.
const MISSES: usize = 256;

/// A config with the experience; `None` if the server has no such experience.
pub(crate) type Previewed = Result<Option<Arc<ConfigSnapshot>>, LoadError>;

/// The results of earlier fetches, except failures.
#[derive(Default)]
pub(crate) struct Previews {
    found: HashMap<SmolStr, (Moment, Arc<ConfigSnapshot>)>,
    missed: HashMap<SmolStr, Moment>,
}

impl Previews {
    /// What an earlier fetch returned; `None` if a fetch is needed.
    pub(crate) fn remembered(&self, id: &str, now: Moment) -> Option<Option<Arc<ConfigSnapshot>>> {
        if let Some((fetched, snapshot)) = self.found.get(id)
            && now - *fetched < PREVIEW_LIFE
        {
            return Some(Some(Arc::clone(snapshot)));
        }
        let missed = self.missed.get(id)?;
        (now - *missed < MISS_LIFE).then_some(None)
    }

    /// Remembers the result of a fetch.
    pub(crate) fn learn(
        &mut self,
        id: &SmolStr,
        answer: Result<Arc<ConfigSnapshot>, LoadError>,
        now: Moment,
    ) -> Previewed {
        let snapshot = answer?;
        self.found.retain(|_, (fetched, _)| now - *fetched < PREVIEW_LIFE);
        self.missed.retain(|_, missed| now - *missed < MISS_LIFE);
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
    use crate::engine::served::snapshot;
    use crate::ports::TransportError;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_previewed_experience_is_kept_for_60_seconds() {
        let (mut previews, now) = (Previews::default(), Moment::default());
        assert!(previews.learn(&"7".into(), snapshot("1", "7"), now).unwrap().is_some());
        assert!(previews.remembered("7", now + 59 * SECOND).flatten().is_some());
        assert!(previews.remembered("7", now + 60 * SECOND).is_none());
        assert!(previews.remembered("8", now).is_none());
    }

    #[test]
    fn a_missing_experience_is_remembered_for_5_seconds() {
        let (mut previews, now) = (Previews::default(), Moment::default());
        assert!(previews.learn(&"8".into(), snapshot("1", "7"), now).unwrap().is_none());
        assert!(matches!(previews.remembered("8", now + 4 * SECOND), Some(None)));
        assert!(previews.remembered("8", now + 5 * SECOND).is_none());
    }

    #[test]
    fn a_failed_preview_is_not_remembered() {
        let (mut previews, now) = (Previews::default(), Moment::default());
        let failure = LoadError::Fetch(TransportError::Status(404));
        assert!(previews.learn(&"8".into(), Err(failure), now).is_err());
        assert!(previews.remembered("8", now).is_none());
    }

    #[test]
    fn links_that_anyone_can_write_do_not_fill_memory() {
        let (mut previews, now) = (Previews::default(), Moment::default());
        for id in 0..1_000 {
            let id = SmolStr::from(id.to_string());
            assert!(previews.learn(&id, snapshot("1", &id), now).is_ok());
            assert!(previews.learn(&smol_str::format_smolstr!("no-{id}"), snapshot("1", "x"), now).is_ok());
        }
        assert_eq!((previews.found.len(), previews.missed.len()), (PREVIEWS, MISSES));
        assert!(previews.learn(&"x".into(), snapshot("1", "x"), now + PREVIEW_LIFE).is_ok());
        assert_eq!((previews.found.len(), previews.missed.len()), (1, 0), "expired entries make room");
    }
}
