//! The refresher's state machine: requests, results and time go in; fetches, configs and answers come out.

use std::sync::Arc;

use crate::config::{ConfigChanges, ConfigSnapshot, SnapshotExt};
use crate::engine::{Jitter, LifecycleEvent, Moment, Reply};
use crate::error::LoadError;
use crate::options::RefreshConfig;
use crate::ports::TransportError;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshKind {
    /// A config to be in place, whoever fetched it.
    Ready,
    /// A fetch that shows what is served now.
    Current,
}

/// The result of a fetch.
pub(crate) enum FetchedConfig {
    /// The config is still the one whose ETag was sent.
    NotModified,
    /// A different config, and its ETag.
    Changed { snapshot: Arc<ConfigSnapshot>, etag: Option<String> },
}

/// The result of a refresh.
pub(crate) type Refreshed = Result<RefreshOutcome, LoadError>;

/// What a successful refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The current config has not changed.
    NotModified,
    /// A different config is now in place.
    Updated(ConfigChanges),
}

/// Fetches one config at a time, on schedule and for everyone who is waiting when it arrives.
pub(crate) struct Refresher {
    policy: Option<RefreshConfig>,
    jitter: Jitter,
    /// The config in place; only the refresher replaces it.
    config: Option<Arc<ConfigSnapshot>>,
    etag: Option<String>,
    failures: u32,
    next: Option<Moment>,
    /// A fetch is to begin, whether or not anybody is waiting.
    wanted: bool,
    waiting: Vec<Reply<Refreshed>>,
    fetching: bool,
}

/// An input of the refresher.
pub(crate) enum RefreshEvent {
    /// A caller asks and waits.
    Asked(RefreshKind, Reply<Refreshed>),
    /// A caller wants a fetch and does not wait for it.
    Wanted,
    /// Time has passed.
    Tick,
    /// The fetch has ended.
    Answered(Result<FetchedConfig, LoadError>),
}

/// What is to be done, in this order.
pub(crate) enum RefreshEffect {
    /// Fetch the config, unless it is still the one with this ETag.
    Fetch(Option<String>),
    /// Put a config in place, with its ETag.
    Publish(Arc<ConfigSnapshot>, Option<String>),
    /// Note that the config in place is current.
    Confirm,
    Announce(LifecycleEvent),
    Answer(Reply<Refreshed>, Refreshed),
}

impl Refresher {
    pub(crate) fn new(
        policy: Option<RefreshConfig>,
        jitter: Jitter,
        (config, etag): (Option<Arc<ConfigSnapshot>>, Option<String>),
        now: Moment,
    ) -> Self {
        let mut refresher = Self {
            policy,
            jitter,
            config,
            etag,
            failures: 0,
            next: None,
            wanted: false,
            waiting: Vec::new(),
            fetching: false,
        };
        refresher.plan(now);
        refresher
    }

    /// When a [`RefreshEvent::Tick`] is due.
    pub(crate) const fn next(&self) -> Option<Moment> {
        self.next
    }

    pub(crate) fn turn(&mut self, event: RefreshEvent, now: Moment) -> Vec<RefreshEffect> {
        let mut effects = Vec::new();
        match event {
            RefreshEvent::Asked(RefreshKind::Ready, reply) if self.config.is_some() => {
                effects.push(RefreshEffect::Answer(reply, Ok(RefreshOutcome::NotModified)));
            }
            RefreshEvent::Asked(kind, reply) => {
                // So that a core becomes ready even if no caller waits long enough.
                self.wanted |= kind == RefreshKind::Ready;
                self.waiting.push(reply);
            }
            RefreshEvent::Wanted => self.wanted = true,
            RefreshEvent::Tick => self.wanted |= self.next.is_some_and(|next| next <= now),
            RefreshEvent::Answered(answer) => self.answered(answer, now, &mut effects),
        }
        if !self.fetching {
            self.waiting.retain(|reply| !reply.is_abandoned());
            self.fetching = self.wanted || !self.waiting.is_empty();
            if self.fetching {
                effects.push(RefreshEffect::Fetch(self.etag.clone()));
            }
        }
        effects
    }

    /// Installs a good config or keeps the current one, plans the next fetch, and answers everyone waiting.
    fn answered(
        &mut self,
        answer: Result<FetchedConfig, LoadError>,
        now: Moment,
        effects: &mut Vec<RefreshEffect>,
    ) {
        let outcome = answer.and_then(|fetched| self.install(fetched, effects));
        match &outcome {
            Ok(_) => self.failures = 0,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                logged!(warn, "fetching the config failed: {error}");
            }
        }
        self.plan(now);
        (self.fetching, self.wanted) = (false, false);
        effects.extend(self.waiting.drain(..).map(|reply| RefreshEffect::Answer(reply, outcome.clone())));
    }

    fn install(&mut self, fetched: FetchedConfig, effects: &mut Vec<RefreshEffect>) -> Refreshed {
        let FetchedConfig::Changed { snapshot, etag } = fetched else {
            // A request without an ETag cannot be answered with "not modified".
            let Some(_) = self.config else { return Err(TransportError::Protocol.into()) };
            effects.push(RefreshEffect::Confirm);
            return Ok(RefreshOutcome::NotModified);
        };
        let (changes, event) = match &self.config {
            Some(now) if !same_project(now, &snapshot) => return Err(LoadError::OtherProject),
            Some(now) => {
                let changes = snapshot.changes_from(now);
                (changes, LifecycleEvent::config_updated(&snapshot, changes))
            }
            None => (ConfigChanges::default(), LifecycleEvent::ready(&snapshot)),
        };
        (self.config, self.etag) = (Some(Arc::clone(&snapshot)), etag.clone());
        effects.extend([
            RefreshEffect::Publish(snapshot, etag),
            RefreshEffect::Confirm,
            RefreshEffect::Announce(event),
        ]);
        Ok(RefreshOutcome::Updated(changes))
    }

    /// Plans the next fetch, if there is a policy.
    fn plan(&mut self, now: Moment) {
        // A core that never had a config is initialized again by its application, not by a timer.
        if let Some(policy) = &self.policy
            && self.config.is_some()
        {
            let wait = policy.wait_after(self.failures).saturating_add(self.jitter.up_to(policy.jitter()));
            self.next = Some(now + wait);
        }
    }
}

fn same_project(one: &ConfigSnapshot, other: &ConfigSnapshot) -> bool {
    one.account_id() == other.account_id() && one.project_id() == other.project_id()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CompileOptions, load};
    use crate::engine::served::served;
    use crate::engine::{Pending, question};

    const SECOND: Duration = Duration::from_secs(1);

    fn refresher(policy: Option<RefreshConfig>) -> Refresher {
        Refresher::new(policy, Jitter::seeded(7), (None, None), Moment::default())
    }

    fn policy(jitter: Duration) -> Option<RefreshConfig> {
        let policy = RefreshConfig::builder().interval(10 * SECOND).jitter(jitter);
        Some(policy.backoff_factor(2.0).backoff_ceiling(35 * SECOND).build().unwrap())
    }

    fn fetched(body: &str) -> Result<FetchedConfig, LoadError> {
        Ok(FetchedConfig::Changed {
            snapshot: load(body.to_owned(), &CompileOptions::default())?,
            etag: None,
        })
    }

    fn fetches(effects: &[RefreshEffect]) -> usize {
        effects.iter().filter(|effect| matches!(effect, RefreshEffect::Fetch(_))).count()
    }

    fn answer(effects: Vec<RefreshEffect>) {
        for effect in effects {
            if let RefreshEffect::Answer(reply, outcome) = effect {
                reply.send(outcome);
            }
        }
    }

    impl Refresher {
        fn ask(&mut self, kind: RefreshKind, now: Moment) -> (Pending<Refreshed>, Vec<RefreshEffect>) {
            let (reply, receipt) = question();
            let effects = self.turn(RefreshEvent::Asked(kind, reply), now);
            (receipt, effects)
        }

        /// One fetch, from the request to the answer.
        fn refreshed(&mut self, answered: Result<FetchedConfig, LoadError>, now: Moment) -> Refreshed {
            let (receipt, asked) = self.ask(RefreshKind::Current, now);
            assert_eq!(fetches(&asked), 1);
            answer(self.turn(RefreshEvent::Answered(answered), now));
            receipt.try_recv().expect("an answer")
        }
    }

    #[test]
    fn one_fetch_answers_everyone_waiting_when_it_ends() {
        let (mut refresher, now) = (refresher(None), Moment::default());
        let mut waiting = Vec::new();
        let mut begun = 0;
        for asked in 0..100 {
            let kind = if asked % 2 == 0 { RefreshKind::Ready } else { RefreshKind::Current };
            let (receipt, effects) = refresher.ask(kind, now);
            begun += fetches(&effects) + fetches(&refresher.turn(RefreshEvent::Wanted, now));
            waiting.push(receipt);
        }
        let answers = refresher.turn(RefreshEvent::Answered(served("1", "1")), now);
        assert_eq!((begun, fetches(&answers)), (1, 0));
        answer(answers);
        assert!(waiting.iter().all(|it| it.try_recv().is_ok_and(|outcome| outcome.is_ok())));
    }

    #[test]
    fn a_config_in_place_satisfies_only_initialize() {
        let (mut refresher, now) = (refresher(None), Moment::default());
        assert!(refresher.refreshed(served("1", "1"), now).is_ok());
        let (receipt, effects) = refresher.ask(RefreshKind::Ready, now);
        assert_eq!(fetches(&effects), 0);
        answer(effects);
        assert_eq!(receipt.try_recv(), Ok(Ok(RefreshOutcome::NotModified)));
        assert_eq!(fetches(&refresher.ask(RefreshKind::Current, now).1), 1);
    }

    #[test]
    fn initialize_without_time_to_wait_still_starts_a_fetch() {
        let (mut refresher, now) = (refresher(None), Moment::default());
        let (reply, receipt) = question();
        drop(receipt);
        assert_eq!(fetches(&refresher.turn(RefreshEvent::Asked(RefreshKind::Ready, reply), now)), 1);
    }

    #[test]
    fn a_fetch_nobody_waits_for_is_not_started() {
        let (mut refresher, now) = (refresher(None), Moment::default());
        assert!(refresher.refreshed(served("1", "1"), now).is_ok());
        let (reply, receipt) = question();
        drop(receipt);
        assert_eq!(fetches(&refresher.turn(RefreshEvent::Asked(RefreshKind::Current, reply), now)), 0);
        assert_eq!(fetches(&refresher.turn(RefreshEvent::Tick, now)), 0);
    }

    #[test]
    fn the_wait_grows_with_each_failure_until_a_success() {
        let mut refresher = refresher(policy(Duration::ZERO));
        let mut now = Moment::default();
        assert!(refresher.refreshed(served("1", "1"), now).is_ok());
        for wait in [20, 35, 35, 35] {
            now = refresher.next.unwrap();
            assert!(refresher.refreshed(Err(TransportError::Connect.into()), now).is_err());
            assert_eq!(refresher.next, Some(now + wait * SECOND));
        }
        now = refresher.next.unwrap();
        assert!(refresher.refreshed(Ok(FetchedConfig::NotModified), now).is_ok());
        assert_eq!(refresher.next, Some(now + 10 * SECOND));
    }

    #[test]
    fn jitter_is_added_up_to_its_bound() {
        let mut refresher = refresher(policy(4 * SECOND));
        let now = Moment::default();
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            assert!(refresher.refreshed(served("1", "1"), now).is_ok());
            let wait = refresher.next.unwrap() - now;
            assert!((10 * SECOND..=14 * SECOND).contains(&wait));
            longest = longest.max(wait);
        }
        assert!(longest > 13 * SECOND);
    }

    #[test]
    fn no_fetch_is_planned_without_a_policy_or_a_first_config() {
        let now = Moment::default();
        let mut without = refresher(None);
        assert!(without.refreshed(served("1", "1"), now).is_ok());
        assert_eq!(without.next, None);
        let mut unready = refresher(policy(Duration::ZERO));
        assert!(unready.refreshed(Err(TransportError::Connect.into()), now).is_err());
        assert_eq!(unready.next, None, "it is up to the application to call initialize again");
        assert!(unready.refreshed(Ok(FetchedConfig::NotModified), now).is_err());
        assert!(unready.refreshed(served("1", "1"), now).is_ok());
        assert_eq!(unready.next, Some(now + 10 * SECOND));
    }

    #[test]
    fn a_forked_child_continues_with_the_config_and_its_etag() {
        let now = Moment::default();
        let mut before = refresher(policy(Duration::ZERO));
        assert!(before.refreshed(served("1", "1"), now).is_ok());
        let mut child = Refresher::new(before.policy, before.jitter, (before.config, before.etag), now);
        assert_eq!((child.etag.as_deref(), child.next), (Some("1-1"), Some(now + 10 * SECOND)));
        assert!(child.refreshed(Ok(FetchedConfig::NotModified), now).is_ok());
    }

    #[test]
    fn the_etag_belongs_to_the_config_in_place() {
        let now = Moment::default();
        let mut refresher = refresher(None);
        assert_eq!(refresher.etag.as_deref(), None);
        let _ = refresher.refreshed(served("1", "1"), now);
        assert_eq!(refresher.etag.as_deref(), Some("1-1"));
        for bad in [served("9", "1"), fetched("")] {
            assert!(refresher.refreshed(bad, now).is_err());
            assert_eq!(refresher.etag.as_deref(), Some("1-1"));
        }
        let RefreshOutcome::Updated(changes) = refresher.refreshed(served("1", "2"), now).unwrap() else {
            panic!("another config")
        };
        assert_eq!((changes.experiences.added, changes.experiences.removed), (1, 1));
        assert_eq!(refresher.etag.as_deref(), Some("1-2"));
    }

    /// Random answers to random requests, from callers some of whom give up early. `SIMULATION_SEEDS` sets
    /// the number of runs.
    #[test]
    fn a_bad_answer_never_replaces_a_good_config_in_random_runs() {
        let seeds =
            std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500_u64);
        for seed in 0..seeds {
            let mut random = Jitter::seeded(seed);
            let mut below = |ways: u32| random.up_to(ways * SECOND).as_secs();
            let mut refresher = refresher(policy(4 * SECOND));
            let (mut now, mut good, mut failures) = (Moment::default(), "1-0".to_owned(), 0_u32);
            assert!(refresher.refreshed(served("1", "0"), now).is_ok());
            for _ in 0..30 {
                let mut fetching = ask_at_random(&mut refresher, &mut below, now, seed);
                now = refresher.next.expect("the next fetch");
                fetching.begun += fetches(&refresher.turn(RefreshEvent::Tick, now));
                assert_eq!(fetching.begun, 1, "seed {seed}");
                let (answered, installs) = match below(9) {
                    0 | 1 => {
                        let experience = below(1_000).to_string();
                        (served("1", &experience), Some(format!("1-{experience}")))
                    }
                    2 => (served("9", "1"), None),
                    3 => (Ok(FetchedConfig::NotModified), None),
                    4 => (fetched(""), None),
                    5 => (fetched("[1, 2"), None),
                    6 => (fetched("{\"error\": \"no such project\"}"), None),
                    7 => (Err(TransportError::Status(500).into()), None),
                    _ => (Err(TransportError::Panicked.into()), None),
                };
                let fine = installs.is_some() || matches!(answered, Ok(FetchedConfig::NotModified));
                let effects = refresher.turn(RefreshEvent::Answered(answered), now);
                assert_eq!(fetches(&effects), 0, "seed {seed}");
                let published =
                    effects.iter().filter(|effect| matches!(effect, RefreshEffect::Publish(..))).count();
                assert_eq!(published, usize::from(installs.is_some()), "seed {seed}");
                answer(effects);
                for receipt in fetching.waiting {
                    let answered = receipt.try_recv().expect("an answer for everyone");
                    assert_eq!(answered.is_ok(), fine, "seed {seed}");
                }
                good = installs.unwrap_or(good);
                failures = if fine { 0 } else { failures + 1 };
                assert_eq!(refresher.etag.as_deref(), Some(good.as_str()), "seed {seed}");
                let in_place = refresher.config.as_ref().unwrap();
                assert!(in_place.experience_index_by_id(&good[2..]).is_some(), "seed {seed}");
                let next = refresher.next.expect("the next fetch");
                let least = (10 * SECOND * 2_u32.pow(failures.min(2))).min(35 * SECOND);
                assert!((least..=least + 4 * SECOND).contains(&(next - now)), "seed {seed}");
            }
        }
    }

    struct Asked {
        begun: usize,
        waiting: Vec<Pending<Refreshed>>,
    }

    /// Up to nine callers. A fetch begins with the first that waits for it or wants it, and only then.
    fn ask_at_random(
        refresher: &mut Refresher,
        below: &mut impl FnMut(u32) -> u64,
        now: Moment,
        seed: u64,
    ) -> Asked {
        let mut asked = Asked { begun: 0, waiting: Vec::new() };
        let mut wanted = false;
        for _ in 0..below(10) {
            let (reply, receipt) = question();
            let effects = match below(4) {
                0 => {
                    drop(receipt);
                    refresher.turn(RefreshEvent::Asked(RefreshKind::Current, reply), now)
                }
                1 => {
                    asked.waiting.push(receipt);
                    refresher.turn(RefreshEvent::Asked(RefreshKind::Current, reply), now)
                }
                2 => {
                    let effects = refresher.turn(RefreshEvent::Asked(RefreshKind::Ready, reply), now);
                    assert!(matches!(effects[..], [RefreshEffect::Answer(..)]), "seed {seed}");
                    effects
                }
                _ => {
                    wanted = true;
                    refresher.turn(RefreshEvent::Wanted, now)
                }
            };
            asked.begun += fetches(&effects);
            assert_eq!(asked.begun, usize::from(wanted || !asked.waiting.is_empty()), "seed {seed}");
        }
        asked
    }
}
