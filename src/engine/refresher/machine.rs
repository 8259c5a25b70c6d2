//! The machine: fetches one config at a time, on schedule and for everyone who is waiting when it arrives.

use std::sync::Arc;
use std::time::SystemTime;

use super::schedule::{Schedule, Since};
use super::{
    CachedConfig, FetchedConfig, InPlace, RefreshEffect, RefreshEvent, RefreshKind, RefreshOutcome,
    RefreshSettings, Refreshed, Role, Seen, Standby,
};
use crate::config::{Changed, ConfigChanges, ConfigSnapshot, SnapshotExt, tell_ready};
use crate::engine::{ConfigOrigin, Jitter, LifecycleEvent, Moment, Reply};
use crate::error::{ConfigCacheError, LoadError};
use crate::ports::TransportError;

pub(crate) struct Refresher {
    settings: RefreshSettings,
    schedule: Schedule,
    /// The config in place; only the refresher replaces it.
    config: Option<Arc<ConfigSnapshot>>,
    etag: Option<String>,
    /// The config in place was given by the application.
    given: bool,
    /// The config in place is too old, and that was announced.
    stale: bool,
    has_looked: bool,
    /// The file is not for this process, so it follows nobody.
    alone: bool,
    /// A config from the cache, for when the fetch fails or takes too long.
    standby: Option<Candidate>,
    /// The config that the application is judging.
    judging: Option<Candidate>,
    /// What was last told of the cache.
    told: Option<ConfigCacheError>,
    /// A fetch is to begin, whether or not anybody is waiting.
    wanted: bool,
    waiting: Vec<(RefreshKind, Reply<Refreshed>)>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Looking,
    /// Idle right after a look, which need not be repeated before a fetch.
    Looked,
    Judging,
    Fetching,
}

/// A config that may be put in place.
struct Candidate {
    snapshot: Arc<ConfigSnapshot>,
    etag: Option<String>,
    /// When it was last known to be current, if it comes from the cache.
    cached: Option<(SystemTime, Since)>,
}

impl Refresher {
    pub(crate) fn new(
        settings: RefreshSettings,
        jitter: Jitter,
        in_place: Option<InPlace>,
        now: Moment,
    ) -> Self {
        let mut refresher = Self {
            settings,
            schedule: Schedule::new(jitter, now),
            config: None,
            etag: None,
            given: false,
            stale: false,
            has_looked: false,
            alone: false,
            standby: None,
            judging: None,
            told: None,
            wanted: false,
            waiting: Vec::new(),
            stage: Stage::Idle,
        };
        if let Some(InPlace { config, etag, origin, age, withdrawn }) = in_place {
            (refresher.config, refresher.etag, refresher.stale) = (Some(config), etag, withdrawn);
            refresher.given = origin == ConfigOrigin::Direct;
            // That config is not the key's.
            refresher.wanted = refresher.given;
            refresher.schedule.begin(age, now, &refresher.settings);
        }
        refresher
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> Option<&ConfigSnapshot> {
        self.config.as_deref()
    }

    #[cfg(test)]
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// When a [`RefreshEvent::Tick`] is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        let fetch_at = self.schedule.fetch_at(&self.settings);
        [fetch_at, self.schedule.look_at(), self.stale_at()].into_iter().flatten().min()
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
                self.waiting.push((kind, reply));
            }
            RefreshEvent::Wanted => self.wanted = true,
            RefreshEvent::Tick => {}
            RefreshEvent::Answered(answer) => self.answered(answer, now, &mut effects),
            RefreshEvent::Looked(seen) => self.looked(seen, now, &mut effects),
            RefreshEvent::Judged(accepted) => self.judged(accepted, now, &mut effects),
            RefreshEvent::Adopted => self.adopted(now, &mut effects),
            RefreshEvent::Kept(Ok(())) => self.told = None,
            RefreshEvent::Kept(Err(error)) => self.tell(error, &mut effects),
        }
        self.check_age(now, &mut effects);
        self.begin(now, &mut effects);
        effects
    }

    /// Begins whatever is to be done now, one thing at a time: a look at the cache before a fetch.
    fn begin(&mut self, now: Moment, effects: &mut Vec<RefreshEffect>) {
        if !matches!(self.stage, Stage::Idle | Stage::Looked) {
            return;
        }
        let looked = std::mem::replace(&mut self.stage, Stage::Idle) == Stage::Looked;
        self.waiting.retain(|(_, reply)| !reply.is_abandoned());
        let is_past = |moment: Option<Moment>| moment.is_some_and(|moment| moment <= now);
        let asked = self.wanted || !self.waiting.is_empty();
        let fetches = asked || is_past(self.schedule.fetch_at(&self.settings));
        let looks_first = fetches && self.settings.cached && (self.settings.shares() || !self.has_looked);
        if !looked && (looks_first || is_past(self.schedule.look_at())) {
            self.stage = Stage::Looking;
            return effects.push(RefreshEffect::Look(self.config.clone()));
        }
        if !fetches {
            return;
        }
        if let Some(Candidate { snapshot, etag, cached: Some((at, _)) }) = &self.standby {
            let (snapshot, etag, at) = (Arc::clone(snapshot), etag.clone(), *at);
            effects.push(RefreshEffect::StandBy(Standby { snapshot, etag, at }));
        }
        if self.fetched_none() && self.schedule.leaves_it(self.standby.is_some(), now) {
            return;
        }
        self.stage = Stage::Fetching;
        effects.push(RefreshEffect::Fetch(self.etag.clone()));
    }

    fn looked(&mut self, Seen { role, found }: Seen, now: Moment, effects: &mut Vec<RefreshEffect>) {
        (self.stage, self.has_looked) = (Stage::Looked, true);
        match &found {
            Ok(Some(_)) => self.alone = false,
            Err(ConfigCacheError::Foreign | ConfigCacheError::Unsafe) => self.alone = true,
            _ => {}
        }
        let role = match role {
            Ok(role) if !self.alone => role,
            Ok(_) => Role::Fetches,
            Err(error) => {
                self.tell(error, effects);
                Role::Fetches
            }
        };
        self.schedule.follow(role, now, &self.settings);
        match found {
            Ok(Some(cached)) => self.found(cached, now, effects),
            Ok(None) => {}
            Err(error) => self.tell(error, effects),
        }
    }

    fn found(&mut self, cached: CachedConfig, now: Moment, effects: &mut Vec<RefreshEffect>) {
        let CachedConfig { snapshot, etag, at, age } = cached;
        let since = Since::before(now, age);
        let is_newer = self.config.is_none() || age < self.schedule.age(now);
        match snapshot {
            None if is_newer => self.confirm(ConfigOrigin::Cached, Some(at), since, now, effects),
            // Where another process fetches, its word counts, whatever the clock says.
            Some(snapshot) if is_newer || self.given || self.schedule.follows() => {
                self.consider(Candidate { snapshot, etag, cached: Some((at, since)) }, now, effects);
            }
            _ => {}
        }
    }

    fn answered(
        &mut self,
        answer: Result<FetchedConfig, LoadError>,
        now: Moment,
        effects: &mut Vec<RefreshEffect>,
    ) {
        self.stage = Stage::Idle;
        match answer {
            Err(error) => self.conclude(Err(error), now, effects),
            // A request without an ETag cannot be answered with "not modified".
            Ok(FetchedConfig::NotModified) if self.etag.is_none() => {
                self.conclude(Err(TransportError::Protocol.into()), now, effects);
            }
            Ok(FetchedConfig::NotModified) => {
                self.confirm(ConfigOrigin::Fetched, None, Since::now(now), now, effects);
                self.conclude(Ok(RefreshOutcome::NotModified), now, effects);
            }
            Ok(FetchedConfig::Changed { snapshot, etag }) => {
                self.consider(Candidate { snapshot, etag, cached: None }, now, effects);
            }
        }
    }

    /// Refuses another project's config, and has the application judge others if it wants to.
    fn consider(&mut self, candidate: Candidate, now: Moment, effects: &mut Vec<RefreshEffect>) {
        if self.config.as_ref().is_some_and(|config| !same_project(config, &candidate.snapshot)) {
            return self.refuse(&candidate, LoadError::OtherProject, now, effects);
        }
        if !self.settings.judged {
            return self.accept(candidate, now, effects);
        }
        let changes = self.changes(&candidate.snapshot);
        effects.push(RefreshEffect::Judge(Arc::clone(&candidate.snapshot), changes));
        (self.judging, self.stage) = (Some(candidate), Stage::Judging);
    }

    fn judged(&mut self, accepted: bool, now: Moment, effects: &mut Vec<RefreshEffect>) {
        let Some(candidate) = self.judging.take() else { return };
        self.stage = if candidate.cached.is_some() { Stage::Looked } else { Stage::Idle };
        if accepted {
            return self.accept(candidate, now, effects);
        }
        let changes = self.changes(&candidate.snapshot);
        let event = LifecycleEvent::config_not_accepted(&candidate.snapshot, changes);
        effects.push(RefreshEffect::Announce(event));
        self.refuse(&candidate, LoadError::NotAccepted, now, effects);
    }

    fn refuse(
        &mut self,
        candidate: &Candidate,
        error: LoadError,
        now: Moment,
        effects: &mut Vec<RefreshEffect>,
    ) {
        if candidate.cached.is_some() {
            logged!(warn, "the cached config is not used: {error}");
        } else {
            self.conclude(Err(error), now, effects);
        }
    }

    fn accept(&mut self, candidate: Candidate, now: Moment, effects: &mut Vec<RefreshEffect>) {
        let Some((_, since)) = candidate.cached else {
            let changes = self.install(candidate, now, effects);
            return self.conclude(Ok(RefreshOutcome::Updated(changes)), now, effects);
        };
        // What the holder of the lock has just fetched need not be fetched again.
        let settles = self.schedule.follows() && self.settings.is_fresh(since.age(now));
        if self.config.is_none() && !self.settings.at_once && !settles {
            self.standby = Some(candidate);
            return;
        }
        self.wanted &= !(settles && self.fetched_none());
        let changes = self.install(candidate, now, effects);
        self.answer_ready(&RefreshOutcome::Updated(changes), effects);
    }

    fn adopted(&mut self, now: Moment, effects: &mut Vec<RefreshEffect>) {
        let Some(standby) = self.standby.take() else { return };
        self.put(&standby, now);
        // The holder of the lock fetches.
        self.wanted &= !self.schedule.follows();
        self.answer_ready(&RefreshOutcome::NotModified, effects);
    }

    /// Answers those for whom any config will do.
    fn answer_ready(&mut self, outcome: &RefreshOutcome, effects: &mut Vec<RefreshEffect>) {
        for (kind, reply) in std::mem::take(&mut self.waiting) {
            match kind {
                RefreshKind::Ready => effects.push(RefreshEffect::Answer(reply, Ok(outcome.clone()))),
                RefreshKind::Current => self.waiting.push((kind, reply)),
            }
        }
    }

    /// The end of a fetch: plans the next one, and answers everyone waiting.
    fn conclude(&mut self, outcome: Refreshed, now: Moment, effects: &mut Vec<RefreshEffect>) {
        if let Err(error) = &outcome {
            let rest = match (&self.config, &self.standby) {
                (Some(_), _) => "; the current one stays in use",
                (None, None) => "; there is none yet",
                (None, Some(_)) => "",
            };
            logged!(warn, limited, "{error}{rest}");
            if let Some(standby) = self.standby.take() {
                self.install(standby, now, effects);
            }
            self.schedule.fail(self.config.is_some(), now, &self.settings);
        }
        self.wanted = false;
        let (starts, refreshes): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(kind, _)| *kind == RefreshKind::Ready);
        for (_, reply) in refreshes {
            effects.push(RefreshEffect::Answer(reply, outcome.clone()));
        }
        let keeps = self.settings.cached && !self.schedule.follows() && outcome.is_ok();
        if let Some(config) = self.config.as_ref().filter(|_| keeps) {
            effects.push(RefreshEffect::Keep(Arc::clone(config), self.etag.clone()));
        }
        // A process that ends right after its start has left a config for the next one.
        let ready = if self.config.is_some() { outcome.or(Ok(RefreshOutcome::NotModified)) } else { outcome };
        for (_, reply) in starts {
            effects.push(RefreshEffect::Answer(reply, ready.clone()));
        }
    }

    /// Publishes a config, and returns what it changes.
    fn install(
        &mut self,
        candidate: Candidate,
        now: Moment,
        effects: &mut Vec<RefreshEffect>,
    ) -> ConfigChanges {
        let changes = self.config.as_ref().map(|config| candidate.snapshot.changes_from(config));
        let event = match changes {
            Some(changes) => {
                logged!(info, "a new config is in place: {}", Changed(&changes));
                LifecycleEvent::config_updated(&candidate.snapshot, changes)
            }
            None => {
                tell_ready(&candidate.snapshot, candidate.cached.map(|(_, since)| since.age(now)));
                LifecycleEvent::ready(&candidate.snapshot)
            }
        };
        let confirm = match candidate.cached {
            Some((at, _)) => RefreshEffect::Confirm(ConfigOrigin::Cached, Some(at)),
            None => RefreshEffect::Confirm(ConfigOrigin::Fetched, None),
        };
        self.put(&candidate, now);
        let Candidate { snapshot, etag, .. } = candidate;
        effects.extend([RefreshEffect::Publish(snapshot, etag), confirm, RefreshEffect::Announce(event)]);
        changes.unwrap_or_default()
    }

    fn put(&mut self, candidate: &Candidate, now: Moment) {
        (self.config, self.etag) = (Some(Arc::clone(&candidate.snapshot)), candidate.etag.clone());
        (self.standby, self.given, self.stale) = (None, false, false);
        let since = candidate.cached.map_or(Since::now(now), |(_, since)| since);
        self.schedule.confirm(since, &self.settings);
    }

    /// The config in place is current, or was at that time.
    fn confirm(
        &mut self,
        origin: ConfigOrigin,
        at: Option<SystemTime>,
        since: Since,
        now: Moment,
        effects: &mut Vec<RefreshEffect>,
    ) {
        self.schedule.confirm(since, &self.settings);
        let Some(config) = &self.config else { return };
        let is_past = self.schedule.stale_at(&self.settings).is_some_and(|stale_at| stale_at <= now);
        if self.stale && !is_past {
            self.stale = false;
            if self.settings.withdraws {
                effects.push(RefreshEffect::Publish(Arc::clone(config), self.etag.clone()));
            }
            effects.push(RefreshEffect::Announce(LifecycleEvent::config_confirmed(config)));
        }
        effects.push(RefreshEffect::Confirm(origin, at));
    }

    fn check_age(&mut self, now: Moment, effects: &mut Vec<RefreshEffect>) {
        if self.stale_at().is_some_and(|stale_at| stale_at <= now)
            && let Some(config) = &self.config
        {
            self.stale = true;
            let age = self.schedule.age(now);
            logged!(warn, "the config could not be confirmed for {} s", age.as_secs());
            if self.settings.withdraws {
                effects.push(RefreshEffect::Withdraw(Arc::clone(config)));
            }
            effects.push(RefreshEffect::Announce(LifecycleEvent::config_stale(config, age)));
        }
    }

    /// Tells of a fault of the cache, once until another one or a success.
    fn tell(&mut self, error: ConfigCacheError, effects: &mut Vec<RefreshEffect>) {
        if self.told.as_ref() != Some(&error) {
            logged!(warn, "{error}");
            effects.push(RefreshEffect::Announce(LifecycleEvent::ConfigCacheFailed { error: error.clone() }));
            self.told = Some(error);
        }
    }

    fn changes(&self, snapshot: &ConfigSnapshot) -> ConfigChanges {
        self.config.as_ref().map_or_else(|| snapshot.all_added(), |config| snapshot.changes_from(config))
    }

    /// When that is to be announced.
    fn stale_at(&self) -> Option<Moment> {
        let fresh = self.config.is_some() && !self.stale;
        self.schedule.stale_at(&self.settings).filter(|_| fresh)
    }

    /// Whether there is no config of the key yet.
    const fn fetched_none(&self) -> bool {
        self.config.is_none() || self.given
    }
}

fn same_project(one: &ConfigSnapshot, other: &ConfigSnapshot) -> bool {
    one.account_id() == other.account_id() && one.project_id() == other.project_id()
}
