//! The refresher's machine under virtual time.

use std::time::UNIX_EPOCH;

use super::*;
use crate::config::{CompileOptions, SnapshotExt, load};
use crate::engine::served::{served, snapshot};
use crate::engine::{Jitter, LifecycleEventKind, Moment, Pending, question};
use crate::ports::TransportError;

const SECOND: Duration = Duration::from_secs(1);

fn refresher(policy: Option<RefreshConfig>) -> Refresher {
    with(RefreshSettings { policy, ..RefreshSettings::default() })
}

fn with(settings: RefreshSettings) -> Refresher {
    Refresher::new(settings, Jitter::seeded(7), None, Moment::default())
}

fn policy(jitter: Duration) -> Option<RefreshConfig> {
    let policy = RefreshConfig::builder().interval(10 * SECOND).jitter(jitter);
    Some(policy.backoff_factor(2.0).backoff_ceiling(35 * SECOND).build().unwrap())
}

fn fetched(body: &str) -> Result<FetchedConfig, LoadError> {
    Ok(FetchedConfig::Changed { snapshot: load(body.to_owned(), &CompileOptions::default())?, etag: None })
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

/// A config in place at the start.
fn placed(origin: ConfigOrigin, age: Duration) -> InPlace {
    let config = snapshot("1", "1").unwrap();
    InPlace { config, etag: Some("1-1".to_owned()), origin, age, withdrawn: false }
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
        now = refresher.next().unwrap();
        assert!(refresher.refreshed(Err(TransportError::Connect.into()), now).is_err());
        assert_eq!(refresher.next(), Some(now + wait * SECOND));
    }
    now = refresher.next().unwrap();
    assert!(refresher.refreshed(Ok(FetchedConfig::NotModified), now).is_ok());
    assert_eq!(refresher.next(), Some(now + 10 * SECOND));
}

#[test]
fn jitter_is_added_up_to_its_bound() {
    let mut refresher = refresher(policy(4 * SECOND));
    let now = Moment::default();
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        assert!(refresher.refreshed(served("1", "1"), now).is_ok());
        let wait = refresher.next().unwrap() - now;
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
    assert_eq!(without.next(), None);
    let mut unready = refresher(policy(Duration::ZERO));
    assert!(unready.refreshed(Err(TransportError::Connect.into()), now).is_err());
    assert_eq!(unready.next(), None, "it is up to the application to call initialize again");
    assert!(unready.refreshed(Ok(FetchedConfig::NotModified), now).is_err());
    assert!(unready.refreshed(served("1", "1"), now).is_ok());
    assert_eq!(unready.next(), Some(now + 10 * SECOND));
}

#[test]
fn not_modified_confirms_nothing_without_an_etag() {
    let (mut refresher, now) = (refresher(None), Moment::default());
    let body = r#"{"account_id": "1", "project": {"id": "1"}}"#;
    assert!(refresher.refreshed(fetched(body), now).is_ok());
    assert!(refresher.refreshed(Ok(FetchedConfig::NotModified), now).is_err());
}

#[test]
fn a_forked_child_continues_with_the_config_and_its_etag() {
    let now = Moment::default();
    let settings = RefreshSettings { policy: policy(Duration::ZERO), ..RefreshSettings::default() };
    let in_place = placed(ConfigOrigin::Fetched, Duration::ZERO);
    let mut child = Refresher::new(settings, Jitter::seeded(7), Some(in_place), now);
    assert_eq!(child.next(), Some(now + 10 * SECOND));
    let (receipt, asked) = child.ask(RefreshKind::Current, now);
    assert!(matches!(&asked[..], [RefreshEffect::Fetch(Some(etag))] if etag == "1-1"));
    answer(child.turn(RefreshEvent::Answered(Ok(FetchedConfig::NotModified)), now));
    assert_eq!(receipt.try_recv(), Ok(Ok(RefreshOutcome::NotModified)));
}

#[test]
fn the_etag_belongs_to_the_config_in_place() {
    let now = Moment::default();
    let mut refresher = refresher(None);
    assert_eq!(refresher.etag(), None);
    let _ = refresher.refreshed(served("1", "1"), now);
    assert_eq!(refresher.etag(), Some("1-1"));
    for bad in [served("9", "1"), fetched("")] {
        assert!(refresher.refreshed(bad, now).is_err());
        assert_eq!(refresher.etag(), Some("1-1"));
    }
    let RefreshOutcome::Updated(changes) = refresher.refreshed(served("1", "2"), now).unwrap() else {
        panic!("another config")
    };
    assert_eq!((changes.experiences.added, changes.experiences.removed), (1, 1));
    assert_eq!(refresher.etag(), Some("1-2"));
}

/// Random answers to random requests, from callers some of whom give up early. `SIMULATION_SEEDS` sets
/// the number of runs.
#[test]
fn a_bad_answer_never_replaces_a_good_config_in_random_runs() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500_u64);
    for seed in 0..seeds {
        let mut random = Jitter::seeded(seed);
        let mut below = |ways: u32| random.up_to(ways * SECOND).as_secs();
        let mut refresher = refresher(policy(4 * SECOND));
        let (mut now, mut good, mut failures) = (Moment::default(), "1-0".to_owned(), 0_u32);
        assert!(refresher.refreshed(served("1", "0"), now).is_ok());
        for _ in 0..30 {
            let mut fetching = ask_at_random(&mut refresher, &mut below, now, seed);
            now = refresher.next().expect("the next fetch");
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
            assert_eq!(refresher.etag(), Some(good.as_str()), "seed {seed}");
            let in_place = refresher.config().unwrap();
            assert!(in_place.experience_index_by_id(&good[2..]).is_some(), "seed {seed}");
            let next = refresher.next().expect("the next fetch");
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

/// A cached config that was current so long ago.
fn cached(experience: &str, age: Duration) -> CachedConfig {
    let snapshot = Some(snapshot("1", experience).unwrap());
    CachedConfig { snapshot, etag: Some(format!("1-{experience}")), at: UNIX_EPOCH, age }
}

fn seen(role: Role, found: Option<CachedConfig>) -> RefreshEvent {
    RefreshEvent::Looked(Seen { role: Ok(role), found: Ok(found) })
}

fn refused(role: Role, error: ConfigCacheError) -> RefreshEvent {
    RefreshEvent::Looked(Seen { role: Ok(role), found: Err(error) })
}

fn sharing() -> RefreshSettings {
    RefreshSettings { policy: policy(Duration::ZERO), cached: true, ..RefreshSettings::default() }
}

fn looks(effects: &[RefreshEffect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, RefreshEffect::Look(_))).count()
}

fn keeps(effects: &[RefreshEffect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, RefreshEffect::Keep(..))).count()
}

fn announced(effects: &[RefreshEffect]) -> Vec<LifecycleEventKind> {
    let kind = |effect: &RefreshEffect| match effect {
        RefreshEffect::Announce(event) => Some(event.kind()),
        _ => None,
    };
    effects.iter().filter_map(kind).collect()
}

fn unreachable() -> RefreshEvent {
    RefreshEvent::Answered(Err(TransportError::Connect.into()))
}

#[test]
fn an_unreachable_endpoint_starts_from_the_cache() {
    let (mut refresher, now) =
        (with(RefreshSettings { cached: true, ..Default::default() }), Moment::default());
    let (receipt, effects) = refresher.ask(RefreshKind::Ready, now);
    assert_eq!((looks(&effects), fetches(&effects)), (1, 0));
    let effects = refresher.turn(seen(Role::Fetches, Some(cached("7", 3600 * SECOND))), now);
    assert!(matches!(effects[..], [RefreshEffect::StandBy(_), RefreshEffect::Fetch(None)]));
    let effects = refresher.turn(unreachable(), now);
    assert_eq!((announced(&effects), keeps(&effects)), (vec![LifecycleEventKind::Ready], 0));
    answer(effects);
    assert_eq!(receipt.try_recv(), Ok(Ok(RefreshOutcome::NotModified)));
    assert!(refresher.config().unwrap().experience_index_by_id("7").is_some());
    assert_eq!(fetches(&refresher.turn(RefreshEvent::Wanted, now)), 1, "asked for with its ETag");
}

#[test]
fn a_fetched_config_beats_the_standby_and_is_kept() {
    let (mut refresher, now) =
        (with(RefreshSettings { cached: true, ..Default::default() }), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
    let (_refreshed, _) = refresher.ask(RefreshKind::Current, now);
    refresher.turn(seen(Role::Fetches, Some(cached("7", SECOND))), now);
    let effects = refresher.turn(RefreshEvent::Answered(served("1", "8")), now);
    assert_eq!((announced(&effects), keeps(&effects)), (vec![LifecycleEventKind::Ready], 1));
    let last: Vec<_> = effects.iter().rev().take(3).collect();
    let is_in_order =
        matches!(last[..], [RefreshEffect::Answer(..), RefreshEffect::Keep(..), RefreshEffect::Answer(..)]);
    assert!(is_in_order, "only a start waits for the disk");
    answer(effects);
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
    assert!(refresher.config().unwrap().experience_index_by_id("8").is_some());
}

#[test]
fn a_standby_that_a_caller_has_taken_is_updated_by_the_fetch() {
    let (mut refresher, now) =
        (with(RefreshSettings { cached: true, ..Default::default() }), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
    refresher.turn(seen(Role::Fetches, Some(cached("7", SECOND))), now);
    let effects = refresher.turn(RefreshEvent::Adopted, now);
    assert!(matches!(effects[..], [RefreshEffect::Answer(..)]), "the caller has announced it");
    answer(effects);
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
    let effects = refresher.turn(RefreshEvent::Answered(served("1", "8")), now);
    assert_eq!(announced(&effects), [LifecycleEventKind::ConfigUpdated]);
}

#[test]
fn a_start_at_once_fetches_afterwards() {
    let settings = RefreshSettings { cached: true, at_once: true, ..Default::default() };
    let (mut refresher, now) = (with(settings), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
    let effects = refresher.turn(seen(Role::Fetches, Some(cached("7", SECOND))), now);
    assert!(matches!(effects.last(), Some(RefreshEffect::Fetch(Some(etag))) if etag == "1-7"));
    answer(effects);
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
}

#[test]
fn a_bad_cache_is_told_once_and_is_no_start() {
    for error in [ConfigCacheError::Damaged, ConfigCacheError::Foreign, ConfigCacheError::Unsafe] {
        let mut refresher = with(RefreshSettings { cached: true, ..Default::default() });
        let now = Moment::default();
        let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
        let effects = refresher.turn(refused(Role::Fetches, error.clone()), now);
        assert_eq!(
            (announced(&effects), fetches(&effects)),
            (vec![LifecycleEventKind::ConfigCacheFailed], 1)
        );
        answer(refresher.turn(unreachable(), now));
        assert!(receipt.try_recv().is_ok_and(|it| it.is_err()));
        let again = refresher.turn(RefreshEvent::Kept(Err(error.clone())), now);
        assert_eq!(announced(&again), [], "told already");
        refresher.turn(RefreshEvent::Kept(Ok(())), now);
        assert_eq!(announced(&refresher.turn(RefreshEvent::Kept(Err(error)), now)).len(), 1);
    }
}

#[test]
fn a_follower_starts_with_what_was_just_fetched() {
    let (mut refresher, now) = (with(sharing()), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
    let mut now = now;
    // The process with the lock has not finished yet.
    let effects = refresher.turn(seen(Role::Follows, None), now);
    assert!(effects.is_empty());
    for _ in 0..3 {
        now = refresher.next().unwrap();
        assert_eq!(looks(&refresher.turn(RefreshEvent::Tick, now)), 1);
        assert!(refresher.turn(seen(Role::Follows, None), now).is_empty());
    }
    now = refresher.next().unwrap();
    refresher.turn(RefreshEvent::Tick, now);
    let effects = refresher.turn(seen(Role::Follows, Some(cached("7", SECOND))), now);
    assert_eq!((fetches(&effects), announced(&effects)), (0, vec![LifecycleEventKind::Ready]));
    answer(effects);
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
}

#[test]
fn a_follower_fetches_itself_if_nobody_else_does() {
    let (mut refresher, start) = (with(sharing()), Moment::default());
    drop(refresher.ask(RefreshKind::Ready, start));
    let (mut now, mut fetched) = (start, 0);
    let mut effects = refresher.turn(seen(Role::Follows, None), now);
    while fetches(&effects) == 0 {
        now = refresher.next().unwrap();
        assert!(now - start <= 3 * SECOND);
        refresher.turn(RefreshEvent::Tick, now);
        effects = refresher.turn(seen(Role::Follows, None), now);
        fetched += 1;
    }
    assert!(fetched > 1);
    let effects = refresher.turn(RefreshEvent::Answered(served("1", "8")), now);
    assert_eq!(keeps(&effects), 0, "the file belongs to the process with the lock");
    let foreign = || refused(Role::Follows, ConfigCacheError::Foreign);
    let mut alone = with(sharing());
    drop(alone.ask(RefreshKind::Ready, start));
    assert_eq!(fetches(&alone.turn(foreign(), start)), 1, "what another key's process fetches is no use");
}

#[test]
fn a_follower_with_an_old_cache_waits_less_for_the_holder() {
    let (mut refresher, start) = (with(sharing()), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, start);
    let mut now = start;
    let mut effects = refresher.turn(seen(Role::Follows, Some(cached("7", 3600 * SECOND))), now);
    while fetches(&effects) == 0 {
        assert!(matches!(effects[0], RefreshEffect::StandBy(_)), "callers may lose their patience");
        now = refresher.next().unwrap();
        refresher.turn(RefreshEvent::Tick, now);
        effects = refresher.turn(seen(Role::Follows, None), now);
    }
    assert!(now - start <= SECOND);
    answer(refresher.turn(unreachable(), now));
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
}

#[test]
fn who_cannot_use_the_shared_file_fetches_by_itself() {
    let in_place = Some(placed(ConfigOrigin::Fetched, Duration::ZERO));
    let mut now = Moment::default();
    let mut refresher = Refresher::new(sharing(), Jitter::seeded(7), in_place, now);
    refresher.turn(RefreshEvent::Tick, now);
    refresher.turn(refused(Role::Follows, ConfigCacheError::Foreign), now);
    for _ in 0..3 {
        assert_eq!(refresher.next(), Some(now + 10 * SECOND));
        now = refresher.next().unwrap();
        refresher.turn(RefreshEvent::Tick, now);
        assert_eq!(fetches(&refresher.turn(seen(Role::Follows, None), now)), 1);
        refresher.turn(RefreshEvent::Answered(Ok(FetchedConfig::NotModified)), now);
    }
    // The file is this key's again.
    now = refresher.next().unwrap();
    refresher.turn(RefreshEvent::Tick, now);
    let same = CachedConfig { snapshot: None, ..cached("1", Duration::ZERO) };
    assert_eq!(fetches(&refresher.turn(seen(Role::Follows, Some(same)), now)), 0);
    assert_eq!(refresher.next(), Some(now + SECOND), "it follows");
}

#[test]
fn followers_look_once_a_second_and_fetch_nothing() {
    let in_place = Some(placed(ConfigOrigin::Fetched, Duration::ZERO));
    let mut now = Moment::default();
    let mut refresher = Refresher::new(sharing(), Jitter::seeded(7), in_place, now);
    assert_eq!(looks(&refresher.turn(RefreshEvent::Tick, now)), 1, "at the start");
    refresher.turn(seen(Role::Follows, None), now);
    for round in 1..100_u32 {
        assert_eq!(refresher.next(), Some(now + SECOND));
        now += SECOND;
        let effects = refresher.turn(RefreshEvent::Tick, now);
        assert_eq!((looks(&effects), fetches(&effects)), (1, 0));
        // The process with the lock writes every ten seconds.
        let same = CachedConfig { snapshot: None, ..cached("1", Duration::ZERO) };
        let found = (round % 10 == 0).then_some(if round == 50 { cached("9", Duration::ZERO) } else { same });
        let effects = refresher.turn(seen(Role::Follows, found), now);
        assert_eq!((fetches(&effects), keeps(&effects)), (0, 0));
        assert_eq!(announced(&effects).len(), usize::from(round == 50), "a new one");
    }
}

#[test]
fn a_follower_with_the_lock_fetches_within_two_intervals() {
    let in_place = Some(placed(ConfigOrigin::Fetched, Duration::ZERO));
    let start = Moment::default();
    let settings = RefreshSettings { policy: policy(4 * SECOND), ..sharing() };
    let mut refresher = Refresher::new(settings, Jitter::seeded(7), in_place, start);
    refresher.turn(RefreshEvent::Tick, start);
    refresher.turn(seen(Role::Follows, None), start);
    // The holder dies at once; the next look gets the lock.
    let mut now = refresher.next().unwrap();
    refresher.turn(RefreshEvent::Tick, now);
    let mut effects = refresher.turn(seen(Role::Fetches, None), now);
    while fetches(&effects) == 0 {
        now = refresher.next().unwrap();
        refresher.turn(RefreshEvent::Tick, now);
        effects = refresher.turn(seen(Role::Fetches, None), now);
    }
    assert!(now - start <= 2 * 10 * SECOND);
    let effects = refresher.turn(RefreshEvent::Answered(Ok(FetchedConfig::NotModified)), now);
    assert_eq!(keeps(&effects), 1, "with the time at which it was confirmed");
}

#[test]
fn a_holder_that_hangs_is_replaced_in_time() {
    let in_place = Some(placed(ConfigOrigin::Fetched, Duration::ZERO));
    let start = Moment::default();
    let mut refresher = Refresher::new(sharing(), Jitter::seeded(7), in_place, start);
    let (mut now, mut effects) = (start, Vec::new());
    while fetches(&effects) == 0 {
        refresher.turn(RefreshEvent::Tick, now);
        effects = refresher.turn(seen(Role::Follows, None), now);
        now = refresher.next().unwrap();
    }
    // The interval, and the ceiling of the backoff that the holder may be in.
    assert!(now - start >= 45 * SECOND);
}

#[test]
fn without_a_policy_an_older_cache_changes_nothing() {
    let settings = RefreshSettings { cached: true, ..Default::default() };
    let in_place = Some(placed(ConfigOrigin::Fetched, SECOND));
    let now = Moment::default();
    let mut refresher = Refresher::new(settings, Jitter::seeded(7), in_place, now);
    assert_eq!(looks(&refresher.turn(RefreshEvent::Wanted, now)), 1);
    let effects = refresher.turn(seen(Role::Fetches, Some(cached("7", 2 * SECOND))), now);
    assert!(matches!(effects[..], [RefreshEffect::Fetch(_)]));
}

#[test]
fn given_data_are_replaced_by_the_cache_and_the_key() {
    let in_place = Some(placed(ConfigOrigin::Direct, Duration::ZERO));
    let now = Moment::default();
    let settings = RefreshSettings { cached: true, ..Default::default() };
    let mut refresher = Refresher::new(settings, Jitter::seeded(7), in_place, now);
    assert_eq!(looks(&refresher.turn(RefreshEvent::Tick, now)), 1, "nobody has to ask");
    let effects = refresher.turn(seen(Role::Fetches, Some(cached("7", 9 * SECOND))), now);
    assert_eq!((announced(&effects), fetches(&effects)), (vec![LifecycleEventKind::ConfigUpdated], 1));
    let effects = refresher.turn(RefreshEvent::Answered(served("1", "8")), now);
    assert_eq!(announced(&effects), [LifecycleEventKind::ConfigUpdated]);
    assert_eq!(refresher.next(), None);
}

#[test]
fn an_unconfirmed_config_is_stale_once_until_confirmed() {
    let max_stale = Some(30 * SECOND);
    let settings =
        RefreshSettings { policy: policy(Duration::ZERO), max_stale, withdraws: true, ..Default::default() };
    let (mut refresher, mut now) = (with(settings), Moment::default());
    assert!(refresher.refreshed(served("1", "1"), now).is_ok());
    let start = now;
    let mut told = Vec::new();
    while now - start < 120 * SECOND {
        now = refresher.next().unwrap();
        let mut effects = refresher.turn(RefreshEvent::Tick, now);
        if fetches(&effects) == 1 {
            effects.extend(refresher.turn(unreachable(), now));
        }
        let withdrawn = effects.iter().any(|effect| matches!(effect, RefreshEffect::Withdraw(_)));
        told.extend(announced(&effects).into_iter().map(|kind| (kind, withdrawn, now - start)));
    }
    assert_eq!(told, [(LifecycleEventKind::ConfigStale, true, 30 * SECOND)]);
    refresher.turn(RefreshEvent::Wanted, now);
    let effects = refresher.turn(RefreshEvent::Answered(Ok(FetchedConfig::NotModified)), now);
    assert_eq!(announced(&effects), [LifecycleEventKind::ConfigConfirmed]);
    assert!(matches!(effects[0], RefreshEffect::Publish(..)), "it decides again");
    assert_eq!(refresher.next(), Some(now + 10 * SECOND));
}

#[test]
fn a_config_from_the_cache_may_be_stale_from_the_start() {
    let settings = RefreshSettings {
        cached: true,
        at_once: true,
        max_stale: Some(60 * SECOND),
        ..RefreshSettings::default()
    };
    let (mut refresher, now) = (with(settings), Moment::default());
    drop(refresher.ask(RefreshKind::Ready, now));
    let effects = refresher.turn(seen(Role::Fetches, Some(cached("7", 60 * SECOND))), now);
    assert_eq!(announced(&effects), [LifecycleEventKind::Ready, LifecycleEventKind::ConfigStale]);
}

#[test]
fn the_application_judges_each_config_before_its_use() {
    let (mut refresher, now) =
        (with(RefreshSettings { judged: true, ..Default::default() }), Moment::default());
    let mut fetched = |experience: &str, accepted: bool| {
        let (receipt, _) = refresher.ask(RefreshKind::Current, now);
        let effects = refresher.turn(RefreshEvent::Answered(served("1", experience)), now);
        let [RefreshEffect::Judge(_, changes)] = effects[..] else { panic!("judged first") };
        let effects = refresher.turn(RefreshEvent::Judged(accepted), now);
        let told = announced(&effects);
        answer(effects);
        let counts = changes.experiences;
        (receipt.try_recv().unwrap().is_ok(), told, (counts.added, counts.removed))
    };
    assert_eq!(fetched("1", false), (false, vec![LifecycleEventKind::ConfigNotAccepted], (1, 0)));
    assert_eq!(fetched("1", true), (true, vec![LifecycleEventKind::Ready], (1, 0)));
    assert_eq!(fetched("2", false), (false, vec![LifecycleEventKind::ConfigNotAccepted], (1, 1)));
    assert_eq!(fetched("2", true), (true, vec![LifecycleEventKind::ConfigUpdated], (1, 1)));
}

#[test]
fn a_refused_first_config_leaves_the_start_to_the_cache() {
    let settings = RefreshSettings { judged: true, cached: true, ..Default::default() };
    let (mut refresher, now) = (with(settings), Moment::default());
    let (receipt, _) = refresher.ask(RefreshKind::Ready, now);
    refresher.turn(seen(Role::Fetches, Some(cached("7", SECOND))), now);
    let effects = refresher.turn(RefreshEvent::Judged(true), now);
    assert_eq!(fetches(&effects), 1);
    refresher.turn(RefreshEvent::Answered(served("1", "8")), now);
    let effects = refresher.turn(RefreshEvent::Judged(false), now);
    assert_eq!(announced(&effects), [LifecycleEventKind::ConfigNotAccepted, LifecycleEventKind::Ready]);
    answer(effects);
    assert!(receipt.try_recv().is_ok_and(|it| it.is_ok()));
    assert!(refresher.config().unwrap().experience_index_by_id("7").is_some());
}
