//! The store's state machine: what waits to be asked, what is being asked, and for how long.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::drain::{Closing, Drain, Told};
use super::{Call, ClaimAnswer, ClaimRequest, Claimed, Done, StoreCommand, Stored};
use crate::engine::LifecycleEvent;
use crate::engine::Reply;

/// Keys or visitors in one call at most.
const MOST: usize = 1_000;
/// Of these, how many may write visitor state.
const WRITE_LANES: usize = 4;
/// Between two rounds of writing, so that visitors who change together are written together.
const GAP: Duration = Duration::from_millis(10);
/// Keys that may wait to be kept or released; what is beyond is left to the lease's end.
const TOLD: usize = 65_536;
/// What their texts may take, with every copy and until the calls about them have ended.
const TOLD_BYTES: usize = 8 << 20;
/// A key to be released stands in the queue, or in its call and beside it, and among those being released.
const RELEASE_COPIES: usize = 3;

/// What the machine wants done.
pub(crate) enum StoreEffect {
    /// Make this call and tell of its end by its number.
    Call(u64, Call),
    Claimed(Vec<Claimed>),
    Read(Reply<Stored>, Stored),
    Drained(Reply<()>),
    /// So many readers got no answer in time.
    Late(u64),
    /// So many keys are neither kept nor released, as too many wait.
    Untold(usize),
    /// The time of a drain, or of the end where it is `last`, is over before visitor state was written.
    Unwritten {
        last: bool,
    },
    Notify(LifecycleEvent),
}

pub(crate) struct StoreMachine {
    /// How long an answer is waited for.
    timeout: Duration,
    lease: Duration,
    ttl: Option<Duration>,
    reads: VecDeque<Waiting<(String, Reply<Stored>)>>,
    claims: VecDeque<Waiting<ClaimRequest>>,
    keeps: VecDeque<String>,
    releases: VecDeque<String>,
    /// Keys whose release waits or is being made; a claim of one waits for its end, so that it does not
    /// find what is about to go.
    releasing: HashSet<String>,
    /// Visitor state waits to be written, from this moment on.
    write_at: Option<Instant>,
    calls: Vec<Running>,
    next_call: u64,
    settled_at: Option<Instant>,
    /// Since then nobody is kept waiting any more.
    closing: Option<Closing>,
    drains: Vec<Drain>,
    /// Keys that found room.
    told: Told,
    told_bytes: usize,
    /// The last round of writing was refused.
    refused: bool,
    /// Keys that there was no room for.
    untold: usize,
    /// Claims of a tracker that has ended which are not to be released.
    held: HashSet<u64>,
}

/// Someone who waits for an answer, and until when.
struct Waiting<T> {
    due: Instant,
    asked: T,
}

/// A call that has not ended.
struct Running {
    id: u64,
    due: Instant,
    asked: Asked,
}

/// Who waits for a call's answers, in order.
enum Asked {
    /// Those whose time is over have been taken out from the front.
    Read(VecDeque<Waiting<Reply<Stored>>>),
    /// Of these, so many have been told from the front that the answer is late. They hear it all the same,
    /// as a lease that nobody knows of would stay.
    Claim(VecDeque<Waiting<ClaimRequest>>, usize),
    /// So many keys, and what they take.
    Keep(usize, usize),
    Release(Vec<String>),
    Write,
}

impl StoreMachine {
    /// Calls at one time.
    pub(crate) const LANES: usize = 8;
    /// Claims that calls can carry at one time.
    pub(crate) const MOST_AT_HAND: usize = MOST * (Self::LANES - 1);

    /// A lease lasts for `lease`; what is kept for `ttl`.
    pub(crate) fn new(timeout: Duration, lease: Duration, ttl: Option<Duration>) -> Self {
        Self {
            timeout,
            lease,
            ttl,
            reads: VecDeque::new(),
            claims: VecDeque::new(),
            keeps: VecDeque::new(),
            releases: VecDeque::new(),
            releasing: HashSet::new(),
            write_at: None,
            calls: Vec::new(),
            next_call: 0,
            settled_at: None,
            closing: None,
            drains: Vec::new(),
            told: Told::default(),
            told_bytes: 0,
            refused: false,
            untold: 0,
            held: HashSet::new(),
        }
    }

    pub(crate) fn command(&mut self, command: StoreCommand, now: Instant) {
        let due = now + self.timeout;
        match command {
            StoreCommand::Read(key, reply) => self.reads.push_back(Waiting { due, asked: (key, reply) }),
            StoreCommand::Claim(claims) => {
                self.claims.extend(claims.into_iter().map(|asked| Waiting { due, asked }));
            }
            StoreCommand::Keep(keys) => {
                let keys = self.fitting(keys, 1);
                self.told.keeps += keys.len() as u64;
                self.keeps.extend(keys);
            }
            StoreCommand::Release(keys) => {
                let keys = self.fitting(keys, RELEASE_COPIES);
                self.told.releases += keys.len() as u64;
                self.releasing.extend(keys.iter().cloned());
                self.releases.extend(keys);
            }
            // The thread's own.
            StoreCommand::Attach(_) | StoreCommand::Detach(..) => {}
            StoreCommand::Close(deadline) => {
                let first_call = self.next_call;
                self.closing.get_or_insert(Closing { deadline, first_call, over: false });
                // What a store has refused is offered once more.
                (self.write_at, self.refused) = (Some(now), false);
            }
            StoreCommand::Write => self.write_at = self.write_at.or(Some(now)),
            StoreCommand::Drain(ticket, deadline, reply) => {
                self.write_at = self.write_at.map(|_| now);
                let (first_call, told) = (self.next_call, self.told);
                let (written, until) = (false, None);
                self.drains.push(Drain { reply, deadline, ticket, first_call, told, written, until });
            }
        }
    }

    /// The tracker is gone, and has dropped its records but those with these numbers.
    pub(crate) fn detached(&mut self, held: HashSet<u64>) {
        self.held = held;
    }

    /// What was claimed for a tracker that is gone.
    pub(crate) fn unheard(&mut self, claimed: Vec<Claimed>, now: Instant) {
        let is_free = |it: &Claimed| it.answer == ClaimAnswer::First && !self.held.contains(&it.sequence);
        let keys: Vec<_> = claimed.into_iter().filter(is_free).map(|it| it.key).collect();
        self.command(StoreCommand::Release(keys), now);
    }

    /// As many keys as there is room for, each held so many times.
    fn fitting(&mut self, mut keys: Vec<String>, copies: usize) -> Vec<String> {
        let mut room = TOLD.saturating_sub(self.keeps.len() + self.releases.len());
        let asked = keys.len();
        keys.retain(|key| {
            let bytes = self.told_bytes + copies * key.len();
            let fits = room > 0 && bytes <= TOLD_BYTES;
            if fits {
                room -= 1;
                self.told_bytes = bytes;
            }
            fits
        });
        self.untold += asked - keys.len();
        keys
    }

    /// A call has ended.
    pub(crate) fn ended(&mut self, id: u64, done: Done, now: Instant, effects: &mut Vec<StoreEffect>) {
        let Some(place) = self.calls.iter().position(|call| call.id == id) else { return };
        let Running { asked, .. } = self.calls.swap_remove(place);
        match (asked, done) {
            (Asked::Read(waiting), Done::Read(values)) => {
                // Those who are not waited for any more were the first.
                let given_up = values.len() - waiting.len();
                let answers = waiting.into_iter().zip(values.into_iter().skip(given_up));
                effects.extend(answers.map(|(it, value)| StoreEffect::Read(it.asked, Some(value))));
            }
            (Asked::Claim(waiting, _), Done::Claim(claimed)) => {
                let answer = |(it, claimed): (Waiting<ClaimRequest>, _)| {
                    it.asked.answer(match claimed {
                        Ok(true) => ClaimAnswer::First,
                        Ok(false) => ClaimAnswer::Repeated,
                        Err(_) => ClaimAnswer::Failed,
                    })
                };
                effects.push(StoreEffect::Claimed(waiting.into_iter().zip(claimed).map(answer).collect()));
            }
            (Asked::Keep(_, bytes), _) => self.told_bytes -= bytes,
            (Asked::Release(keys), _) => {
                self.told_bytes -= RELEASE_COPIES * texts(&keys);
                keys.iter().for_each(|key| _ = self.releasing.remove(key));
            }
            (Asked::Write, Done::Write { written, refused, next }) => {
                if written + refused > 0 {
                    effects.push(StoreEffect::Notify(LifecycleEvent::DataStoreQueueReleased {
                        written,
                        left: refused,
                    }));
                }
                // One that began before the end does not count, and holds up no drain that was asked since.
                let since_close = self.closing.as_ref().is_none_or(|closing| id >= closing.first_call);
                self.refused = refused > 0 && since_close;
                let untried =
                    !since_close || self.drains.iter().any(|drain| !drain.written && id < drain.first_call);
                // A store that refuses is left alone for a while.
                let pause = if refused > 0 && !untried { self.timeout.max(GAP) } else { GAP };
                self.write_at = match (self.write_at, next) {
                    (None, None) => None,
                    (Some(_), _) if refused == 0 || untried => self.write_at,
                    _ => Some(now + if written == MOST { Duration::ZERO } else { pause }),
                };
                self.drains.iter_mut().for_each(|drain| drain.wrote(id, refused > 0, next));
            }
            _ => {}
        }
    }

    /// After each step: gives up what has waited for too long, and begins what can begin.
    pub(crate) fn settle(&mut self, now: Instant, effects: &mut Vec<StoreEffect>) {
        self.settled_at = Some(now);
        // A store that answers nothing any more is not waited for again and again.
        let hangs = self.hangs(now);
        let at_hand = if self.closing.is_some() { now + self.timeout } else { now };
        let limit = if hangs { now + self.timeout } else { at_hand };
        let mut late = 0;
        let mut given_up = Vec::new();
        for waiting in take_due(&mut self.reads, limit) {
            late += 1;
            effects.push(StoreEffect::Read(waiting.asked.1, None));
        }
        for waiting in take_due(&mut self.claims, limit) {
            given_up.push(waiting.asked.answer(ClaimAnswer::Unasked));
        }
        for call in &mut self.calls {
            match &mut call.asked {
                Asked::Read(replies) => {
                    for waiting in take_due(replies, at_hand) {
                        late += 1;
                        effects.push(StoreEffect::Read(waiting.asked, None));
                    }
                }
                Asked::Claim(claims, told) => {
                    let due = claims.partition_point(|it| it.due <= now).max(*told);
                    let asked = claims.range(*told..due).map(|waiting| waiting.asked.clone());
                    given_up.extend(asked.map(|asked| asked.answer(ClaimAnswer::Late)));
                    *told = due;
                }
                Asked::Keep(..) | Asked::Release(_) | Asked::Write => {}
            }
        }
        if late > 0 {
            effects.push(StoreEffect::Late(late));
        }
        if self.untold > 0 {
            effects.push(StoreEffect::Untold(std::mem::take(&mut self.untold)));
        }
        if !given_up.is_empty() {
            effects.push(StoreEffect::Claimed(given_up));
        }
        while let Some((asked, call)) = self.next_call(now) {
            let (id, due) = (self.next_call, now + self.timeout);
            self.next_call += 1;
            self.calls.push(Running { id, due, asked });
            effects.push(StoreEffect::Call(id, call));
        }
        self.answer_drains(now, effects);
        let writes = self.writes();
        if let Some(closing) = self.closing.as_mut().filter(|it| !it.over && it.deadline <= now) {
            closing.over = true;
            if writes {
                effects.push(StoreEffect::Unwritten { last: true });
            }
        }
    }

    /// The next call that can begin. The last lane is kept for callers that wait, the one before for them
    /// and for claims.
    fn next_call(&mut self, now: Instant) -> Option<(Asked, Call)> {
        let free = Self::LANES - self.calls.len();
        if free == 0 {
            return None;
        }
        // A part for each lane, since a store may ask for one key after the other.
        let part = |waiting: usize| waiting.div_ceil(free).min(MOST);
        self.reads.retain(|waiting| !waiting.asked.1.is_abandoned());
        if !self.reads.is_empty() {
            let batch = self.reads.drain(..part(self.reads.len()));
            let (keys, waiting) =
                batch.map(|Waiting { due, asked: (key, asked) }| (key, Waiting { due, asked })).unzip();
            return Some((Asked::Read(waiting), Call::Read(keys)));
        }
        if free == 1 {
            return None;
        }
        let batch = self.next_claims(part(self.claims.len()));
        if !batch.is_empty() {
            let keys = batch.iter().map(|waiting| waiting.asked.key.clone()).collect();
            return Some((Asked::Claim(batch, 0), Call::Claim(keys, self.lease)));
        }
        if free == 2 {
            return None;
        }
        if !self.keeps.is_empty() {
            let keys: Vec<_> = self.keeps.drain(..part(self.keeps.len())).collect();
            return Some((Asked::Keep(keys.len(), texts(&keys)), Call::Keep(keys, self.ttl)));
        }
        if !self.releases.is_empty() {
            let keys: Vec<_> = self.releases.drain(..part(self.releases.len())).collect();
            return Some((Asked::Release(keys.clone()), Call::Release(keys)));
        }
        if self.can_write() && self.write_at.is_some_and(|at| at <= now) {
            self.write_at = None;
            return Some((Asked::Write, Call::Write(MOST)));
        }
        None
    }

    /// The longest waiting claims, but those that a release is before.
    fn next_claims(&mut self, most: usize) -> VecDeque<Waiting<ClaimRequest>> {
        if self.releasing.is_empty() {
            return self.claims.drain(..most).collect();
        }
        let (mut batch, mut held) = (VecDeque::new(), VecDeque::new());
        while batch.len() < most
            && let Some(claim) = self.claims.pop_front()
        {
            let waits = self.releasing.contains(&claim.asked.key);
            if waits { &mut held } else { &mut batch }.push_back(claim);
        }
        held.append(&mut self.claims);
        self.claims = held;
        batch
    }

    fn can_write(&self) -> bool {
        let writing = self.calls.iter().filter(|call| matches!(call.asked, Asked::Write)).count();
        self.calls.len() + 2 < Self::LANES && writing < WRITE_LANES
    }

    fn answer_drains(&mut self, now: Instant, effects: &mut Vec<StoreEffect>) {
        let (hangs, writes, next_call) = (self.hangs(now), self.writes(), self.next_call);
        let handed = Told {
            keeps: self.told.keeps - self.keeps.len() as u64,
            releases: self.told.releases - self.releases.len() as u64,
        };
        let holds_up = |call: &Running| match call.asked {
            Asked::Read(_) | Asked::Claim(..) => call.due > now,
            Asked::Keep(..) | Asked::Release(_) => !hangs,
            Asked::Write => true,
        };
        let runs = |until: u64| self.calls.iter().any(|call| call.id < until && holds_up(call));
        let ended = |drain: &mut Drain| {
            drain.written |= !writes;
            if drain.until.is_none() && drain.written && (handed.covers(drain.told) || hangs) {
                drain.until = Some(next_call);
            }
            drain.until.is_some_and(|until| !runs(until)) || drain.deadline <= now
        };
        for drain in self.drains.extract_if(.., ended) {
            let written =
                drain.until.is_some_and(|until| !self.calls.iter().any(|it| it.is_write_before(until)));
            if !written && writes {
                effects.push(StoreEffect::Unwritten { last: false });
            }
            effects.push(StoreEffect::Drained(drain.reply));
        }
    }

    /// Whether visitor state waits to be written or is being written.
    fn writes(&self) -> bool {
        self.write_at.is_some() || self.calls.iter().any(|call| matches!(call.asked, Asked::Write))
    }

    /// When the machine wants to be called again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let fronts = [
            self.reads.front().map(|waiting| waiting.due),
            self.claims.front().map(|waiting| waiting.due),
            self.write_at.filter(|_| self.can_write()),
            self.closing.as_ref().filter(|closing| !closing.over).map(|closing| closing.deadline),
            self.drains.iter().map(|drain| drain.deadline).min(),
        ];
        let calls = self.calls.iter().filter_map(|call| {
            let asked = match &call.asked {
                Asked::Read(replies) => replies.front().map(|waiting| waiting.due),
                Asked::Claim(claims, told) => claims.get(*told).map(|waiting| waiting.due),
                Asked::Keep(..) | Asked::Release(_) | Asked::Write => None,
            };
            // It may be the last that a drain or the end waits for.
            asked.or(Some(call.due).filter(|due| Some(*due) > self.settled_at))
        });
        fronts.into_iter().flatten().chain(calls).min()
    }

    /// Whether nothing new can be asked, as the store keeps what was asked for longer than it may.
    fn hangs(&self, now: Instant) -> bool {
        self.calls.len() + 2 >= Self::LANES && self.calls.iter().all(|call| call.due <= now)
    }

    /// Keys that nobody knows to be kept or released.
    pub(crate) fn waiting(&self) -> usize {
        let called = self.calls.iter().map(|call| match &call.asked {
            Asked::Keep(keys, _) => *keys,
            Asked::Release(keys) => keys.len(),
            Asked::Read(_) | Asked::Claim(..) | Asked::Write => 0,
        });
        self.keeps.len() + self.releases.len() + called.sum::<usize>()
    }

    /// Whether there is nothing left to do but to wait for calls that may never end, or the time for it is
    /// over.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let (over, hangs) = (self.closing.as_ref().is_some_and(|closing| closing.over), self.hangs(now));
        let told = self.reads.is_empty()
            && self.claims.is_empty()
            && self.keeps.is_empty()
            && self.releases.is_empty();
        let written = self.write_at.is_none() || self.refused || over;
        let has_ended = |call: &Running| match call.asked {
            Asked::Read(_) | Asked::Claim(..) => call.due <= now,
            Asked::Keep(..) | Asked::Release(_) => call.due <= now && (over || hangs),
            Asked::Write => over,
        };
        (told || hangs) && written && self.calls.iter().all(has_ended)
    }
}

impl Running {
    fn is_write_before(&self, until: u64) -> bool {
        self.id < until && matches!(self.asked, Asked::Write)
    }
}

/// What the texts of keys take.
fn texts(keys: &[String]) -> usize {
    keys.iter().map(String::len).sum()
}

impl ClaimRequest {
    fn answer(self, answer: ClaimAnswer) -> Claimed {
        Claimed { sequence: self.sequence, key: self.key, answer }
    }
}

/// Takes those whose time is over; the first ones are over first.
fn take_due<T>(waiting: &mut VecDeque<Waiting<T>>, now: Instant) -> impl Iterator<Item = Waiting<T>> + '_ {
    let due = waiting.partition_point(|it| it.due <= now);
    waiting.drain(..due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Pending, question};

    const KEYS: [&str; 2] = ["a", "b"];

    fn machine() -> StoreMachine {
        StoreMachine::new(Duration::from_secs(1), Duration::from_secs(9), None)
    }

    fn claim(sequence: u64) -> StoreCommand {
        let key = KEYS[sequence as usize % 2].to_owned();
        StoreCommand::Claim(vec![ClaimRequest { sequence, key }])
    }

    /// The calls that a step begins, and what they are about.
    fn begun(machine: &mut StoreMachine, now: Instant) -> Vec<(u64, Call)> {
        let mut effects = Vec::new();
        machine.settle(now, &mut effects);
        let call = |effect| if let StoreEffect::Call(id, call) = effect { Some((id, call)) } else { None };
        effects.into_iter().filter_map(call).collect()
    }

    #[test]
    fn a_claim_waits_for_the_release_of_its_key_and_no_other_does() {
        let (mut machine, now) = (machine(), Instant::now());
        machine.command(StoreCommand::Release(vec!["a".into()]), now);
        machine.command(claim(0), now);
        machine.command(claim(1), now);
        let calls = begun(&mut machine, now);
        assert!(matches!(&calls[0].1, Call::Claim(keys, _) if keys == &["b"]), "{calls:?}");
        assert!(matches!(&calls[1].1, Call::Release(keys) if keys == &["a"]), "{calls:?}");
        assert_eq!(calls.len(), 2);
        assert!(begun(&mut machine, now).is_empty());
        machine.ended(calls[1].0, Done::Told, now, &mut Vec::new());
        let calls = begun(&mut machine, now);
        assert!(matches!(&calls[..], [(_, Call::Claim(keys, _))] if keys == &["a"]), "{calls:?}");
    }

    #[test]
    fn a_claim_behind_a_release_that_hangs_is_given_up_in_time() {
        let (mut machine, now) = (machine(), Instant::now());
        machine.command(StoreCommand::Release(vec!["a".into()]), now);
        machine.command(claim(0), now);
        begun(&mut machine, now);
        let late = machine.wake_at().unwrap();
        assert_eq!(late, now + Duration::from_secs(1));
        let mut effects = Vec::new();
        machine.settle(late, &mut effects);
        let given_up = effects
            .iter()
            .any(|effect| matches!(effect, StoreEffect::Claimed(it) if it[0].answer == ClaimAnswer::Unasked));
        assert!(given_up);
    }

    #[test]
    fn keys_that_find_no_room_are_told_of() {
        let (mut machine, now) = (machine(), Instant::now());
        let keys = |from: usize, to: usize| (from..to).map(|number| number.to_string()).collect();
        machine.command(StoreCommand::Keep(keys(0, TOLD)), now);
        machine.command(StoreCommand::Release(keys(TOLD, TOLD + 3)), now);
        assert_eq!(machine.waiting(), TOLD);
        let mut effects = Vec::new();
        (0..2).for_each(|_| machine.settle(now, &mut effects));
        let untold = |effect| if let StoreEffect::Untold(keys) = effect { Some(keys) } else { None };
        assert_eq!(effects.into_iter().filter_map(untold).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_claim_that_is_answered_late_is_answered_all_the_same() {
        let (mut machine, mut now) = (machine(), Instant::now());
        (0..2).for_each(|sequence| machine.command(claim(sequence), now));
        let calls = begun(&mut machine, now);
        now += Duration::from_secs(1);
        let answers = |effects: Vec<StoreEffect>| {
            let claimed = |effect| if let StoreEffect::Claimed(it) = effect { it } else { Vec::new() };
            let claimed = effects.into_iter().flat_map(claimed);
            claimed.map(|it| (it.sequence, it.key, it.answer)).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            let mut effects = Vec::new();
            machine.settle(now, &mut effects);
            let late = answers(effects);
            assert!(
                late.is_empty() || late.iter().all(|it| it.2 == ClaimAnswer::Late),
                "told once: {late:?}"
            );
        }
        let mut effects = Vec::new();
        for (id, call) in calls {
            let Call::Claim(keys, _) = call else { panic!("{call:?}") };
            machine.ended(id, Done::Claim(keys.iter().map(|_| Ok(true)).collect()), now, &mut effects);
        }
        let first = |sequence: u64, key: &str| (sequence, key.to_owned(), ClaimAnswer::First);
        assert_eq!(answers(effects), [first(0, "a"), first(1, "b")]);
    }

    #[test]
    fn what_a_tracker_that_has_ended_does_not_hear_is_released() {
        let (mut machine, now) = (machine(), Instant::now());
        let answers = [ClaimAnswer::First, ClaimAnswer::Repeated, ClaimAnswer::Failed];
        let claimed = answers.map(|answer| Claimed { sequence: 0, key: format!("{answer:?}"), answer });
        machine.unheard(claimed.into(), now);
        let calls = begun(&mut machine, now);
        assert!(matches!(&calls[..], [(_, Call::Release(keys))] if keys == &["First"]), "{calls:?}");
    }

    fn asked_drain(machine: &mut StoreMachine, ticket: u64, deadline: Instant, now: Instant) -> Pending<()> {
        let (reply, drained) = question();
        machine.command(StoreCommand::Drain(ticket, deadline, reply), now);
        drained
    }

    /// Ends calls, and says whether a drain was answered by then.
    fn end_all(
        machine: &mut StoreMachine,
        ids: std::ops::Range<u64>,
        done: fn() -> Done,
        now: Instant,
    ) -> bool {
        let mut effects = Vec::new();
        for id in ids {
            machine.ended(id, done(), now, &mut effects);
            machine.settle(now, &mut effects);
        }
        effects.iter().any(|effect| matches!(effect, StoreEffect::Drained(_)))
    }

    const WROTE: fn() -> Done = || Done::Write { written: 1, refused: 0, next: None };
    const LONG: Duration = Duration::from_secs(99);

    #[test]
    fn a_drain_is_credited_by_no_write_that_began_before_it() {
        let (mut machine, now) = (machine(), Instant::now());
        for _ in 0..WRITE_LANES {
            machine.command(StoreCommand::Write, now);
            assert_eq!(begun(&mut machine, now).len(), 1);
        }
        // Another visitor waits for a lane.
        machine.command(StoreCommand::Write, now);
        let _drained = asked_drain(&mut machine, 9, now + LONG, now);
        assert!(!end_all(&mut machine, 0..WRITE_LANES as u64, WROTE, now));
        assert!(end_all(&mut machine, 4..5, WROTE, now));
    }

    #[test]
    fn who_changes_while_an_older_call_writes_him_holds_up_a_drain() {
        let (mut machine, now) = (machine(), Instant::now());
        machine.command(StoreCommand::Write, now);
        begun(&mut machine, now);
        machine.command(StoreCommand::Write, now);
        let _drained = asked_drain(&mut machine, 9, now + LONG, now);
        begun(&mut machine, now);
        assert!(!end_all(&mut machine, 1..2, WROTE, now), "the older one runs");
        let changed = || Done::Write { written: 1, refused: 0, next: Some(3) };
        assert!(!end_all(&mut machine, 0..1, changed, now));
        assert_eq!(begun(&mut machine, now + GAP).len(), 1);
        assert!(end_all(&mut machine, 2..3, WROTE, now + GAP));
    }

    #[test]
    fn a_drain_waits_for_the_keys_before_it_and_for_no_later_ones() {
        let keep = |keys: usize| StoreCommand::Keep(vec![String::new(); keys]);
        let (mut machine, now) = (machine(), Instant::now());
        for _ in 0..6 {
            machine.command(keep(1), now);
            assert_eq!(begun(&mut machine, now).len(), 1);
        }
        // Waits for a lane.
        machine.command(keep(1), now);
        let _drained = asked_drain(&mut machine, 0, now + LONG, now);
        begun(&mut machine, now);
        assert!(!end_all(&mut machine, 0..6, || Done::Told, now), "it has been handed over, no more");
        machine.command(keep(7 * MOST), now);
        begun(&mut machine, now);
        assert!(!machine.keeps.is_empty());
        assert!(end_all(&mut machine, 6..7, || Done::Told, now));
    }

    #[test]
    fn a_slow_write_is_waited_for_until_the_deadline_and_told_of() {
        let (mut machine, mut now) = (machine(), Instant::now());
        machine.command(StoreCommand::Write, now);
        let [drain, close] = [5, 9].map(|seconds| now + Duration::from_secs(seconds));
        let _drained = asked_drain(&mut machine, 1, drain, now);
        machine.command(StoreCommand::Close(close), now);
        begun(&mut machine, now);
        let mut told = Vec::new();
        while let Some(wake) = machine.wake_at() {
            now = wake;
            let mut effects = Vec::new();
            machine.settle(now, &mut effects);
            assert_eq!(machine.is_idle(now), now >= close);
            told.extend(effects.iter().filter_map(|effect| match effect {
                StoreEffect::Unwritten { last } => Some((now, Some(*last))),
                StoreEffect::Drained(_) => Some((now, None)),
                _ => None,
            }));
        }
        assert_eq!(told, [(drain, Some(false)), (drain, None), (close, Some(true))]);
    }

    #[test]
    fn keys_that_wait_are_bounded_in_bytes_too() {
        const KEY: usize = 20_000;
        for release in [false, true] {
            let (mut machine, now) = (machine(), Instant::now());
            let ask = |machine: &mut StoreMachine| {
                let keys = (0..600).map(|at| format!("{at:0KEY$}")).collect();
                machine.command(
                    if release { StoreCommand::Release(keys) } else { StoreCommand::Keep(keys) },
                    now,
                );
            };
            let copies = if release { RELEASE_COPIES } else { 1 };
            let fits = TOLD_BYTES / (copies * KEY);
            ask(&mut machine);
            begun(&mut machine, now);
            ask(&mut machine);
            assert_eq!(machine.waiting(), fits, "what a call is about takes its place");
            end_all(&mut machine, 0..100, || Done::Told, now);
            assert_eq!((machine.waiting(), machine.told_bytes), (0, 0));
            ask(&mut machine);
            assert_eq!(machine.waiting(), fits, "there is room again");
        }
    }
}
