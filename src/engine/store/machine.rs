//! The store's state machine: what is waiting to be asked, what is being asked, and for how long.

mod claims;
mod ending;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use self::ending::{Closing, Drain, KeyTotals};
use super::{Call, ClaimAnswer, ClaimRequest, Claimed, Done, StoreCommand, Stored};
use crate::engine::{LifecycleEvent, Moment, Reply};

/// The most keys or visitors in one call.
const MOST: usize = 1_000;
/// How many of these may write visitor state.
const WRITE_LANES: usize = 4;
/// Between two rounds of writing, so that visitors that change together are written together.
const GAP: Duration = Duration::from_millis(10);
/// Keys that may wait to be kept or released; the leases of any others expire.
const MAX_KEYS: usize = 65_536;
/// Bytes that these keys may take, counting every copy, until the calls with them have ended.
const MAX_KEY_BYTES: usize = 8 << 20;
/// A key to be released is stored in the queue, or in and next to its call, and in `releasing`.
const RELEASE_COPIES: usize = 3;

/// What the machine wants done.
pub(crate) enum StoreEffect {
    /// Make this call, and report its end with this number.
    Call(u64, Call),
    Claimed(Vec<Claimed>),
    Read(Reply<Stored>, Stored),
    Drained(Reply<()>),
    /// This many readers got no answer in time.
    Late(u64),
    /// This many keys are neither kept nor released, because too many are waiting.
    KeysDropped(usize),
    /// A drain, or the close if `last`, reached its deadline before visitor state was written.
    Unwritten {
        last: bool,
    },
    Notify(LifecycleEvent),
}

pub(crate) struct StoreMachine {
    /// How long to wait for an answer.
    timeout: Duration,
    lease: Duration,
    ttl: Option<Duration>,
    reads: VecDeque<Waiting<(String, Reply<Stored>)>>,
    claims: VecDeque<Waiting<ClaimRequest>>,
    keeps: VecDeque<String>,
    releases: VecDeque<String>,
    /// Keys whose release is waiting or in progress; a claim of one waits for that to end, so that it does
    /// not run into a mark that is about to go.
    releasing: HashSet<String>,
    /// Visitor state is waiting to be written, from this moment on.
    write_at: Option<Moment>,
    calls: Vec<Running>,
    next_call: u64,
    settled_at: Option<Moment>,
    /// Once set, callers that are waiting are given up at once.
    closing: Option<Closing>,
    drains: Vec<Drain>,
    /// Keys accepted so far.
    accepted: KeyTotals,
    key_bytes: usize,
    /// The last round of writing was refused.
    refused: bool,
    /// Keys turned away since the last step.
    keys_dropped: usize,
    /// Claims of a tracker that has ended that must not be released.
    held: HashSet<u64>,
}

/// Someone waiting for an answer, with a deadline.
struct Waiting<T> {
    due: Moment,
    asked: T,
}

/// A call that has not ended.
struct Running {
    id: u64,
    due: Moment,
    asked: Asked,
}

/// Who is waiting for a call's answers, in order.
enum Asked {
    /// Readers that timed out have been removed from the front.
    Read(VecDeque<Waiting<Reply<Stored>>>),
    /// This many of these, from the front, have been told that the answer is late. They still get it if it
    /// arrives, or a lease would remain that nobody knows about.
    Claim(VecDeque<Waiting<ClaimRequest>>, usize),
    /// The number of keys, and their bytes.
    Keep(usize, usize),
    Release(Vec<String>),
    Write,
}

impl StoreMachine {
    /// The maximum number of concurrent calls.
    pub(crate) const LANES: usize = 8;
    /// The most claims that calls can carry at once.
    pub(crate) const MOST_IN_CALLS: usize = MOST * (Self::LANES - 1);

    /// A lease lasts for `lease`, a kept key for `ttl`.
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
            accepted: KeyTotals::default(),
            key_bytes: 0,
            refused: false,
            keys_dropped: 0,
            held: HashSet::new(),
        }
    }

    pub(crate) fn command(&mut self, command: StoreCommand, now: Moment) {
        let due = now + self.timeout;
        match command {
            StoreCommand::Read(key, reply) => self.reads.push_back(Waiting { due, asked: (key, reply) }),
            StoreCommand::Claim(claims) => {
                self.claims.extend(claims.into_iter().map(|asked| Waiting { due, asked }));
            }
            StoreCommand::Keep(keys) => {
                let keys = self.fitting(keys, 1);
                self.accepted.keeps += keys.len() as u64;
                self.keeps.extend(keys);
            }
            StoreCommand::Release(keys) => {
                let keys = self.fitting(keys, RELEASE_COPIES);
                self.accepted.releases += keys.len() as u64;
                self.releasing.extend(keys.iter().cloned());
                self.releases.extend(keys);
            }
            StoreCommand::Close(deadline) => {
                let first_call = self.next_call;
                self.closing.get_or_insert(Closing { deadline, first_call, over: false });
                // Whatever a store has refused is offered once more.
                (self.write_at, self.refused) = (Some(now), false);
            }
            StoreCommand::Write => self.write_at = self.write_at.or(Some(now)),
            StoreCommand::Drain(ticket, deadline, reply) => {
                self.write_at = self.write_at.map(|_| now);
                let (first_call, keys) = (self.next_call, self.accepted);
                let (written, until) = (false, None);
                self.drains.push(Drain { reply, deadline, ticket, first_call, keys, written, until });
            }
        }
    }

    /// As many of the keys as fit, each counted `copies` times.
    fn fitting(&mut self, mut keys: Vec<String>, copies: usize) -> Vec<String> {
        let mut free = MAX_KEYS.saturating_sub(self.keeps.len() + self.releases.len());
        let asked = keys.len();
        keys.retain(|key| {
            let bytes = self.key_bytes + copies * key.len();
            let fits = free > 0 && bytes <= MAX_KEY_BYTES;
            if fits {
                free -= 1;
                self.key_bytes = bytes;
            }
            fits
        });
        self.keys_dropped += asked - keys.len();
        keys
    }

    /// A call has ended.
    pub(crate) fn ended(&mut self, id: u64, done: Done, now: Moment, effects: &mut Vec<StoreEffect>) {
        let Some(place) = self.calls.iter().position(|call| call.id == id) else { return };
        let Running { asked, .. } = self.calls.swap_remove(place);
        match (asked, done) {
            (Asked::Read(waiting), Done::Read(values)) => {
                // Those that timed out were at the front.
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
            (Asked::Keep(_, bytes), _) => self.key_bytes -= bytes,
            (Asked::Release(keys), _) => {
                self.key_bytes -= RELEASE_COPIES * texts(&keys);
                keys.iter().for_each(|key| _ = self.releasing.remove(key));
            }
            (Asked::Write, Done::Write { written, refused, next }) => {
                if written + refused > 0 {
                    effects.push(StoreEffect::Notify(LifecycleEvent::DataStoreQueueReleased {
                        written,
                        left: refused,
                    }));
                }
                // One that began before the close does not count, nor does it delay a later drain.
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

    /// After each step: gives up what has waited too long, and begins what can begin.
    pub(crate) fn settle(&mut self, now: Moment, effects: &mut Vec<StoreEffect>) {
        self.settled_at = Some(now);
        // A store that has stopped answering is not waited for repeatedly.
        let hangs = self.hangs(now);
        let limit_of_calls = if self.closing.is_some() { now + self.timeout } else { now };
        let limit = if hangs { now + self.timeout } else { limit_of_calls };
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
                    for waiting in take_due(replies, limit_of_calls) {
                        late += 1;
                        effects.push(StoreEffect::Read(waiting.asked, None));
                    }
                }
                Asked::Claim(claims, late) => {
                    let due = claims.partition_point(|it| it.due <= now).max(*late);
                    let asked = claims.range(*late..due).map(|waiting| waiting.asked.clone());
                    given_up.extend(asked.map(|asked| asked.answer(ClaimAnswer::Late)));
                    *late = due;
                }
                Asked::Keep(..) | Asked::Release(_) | Asked::Write => {}
            }
        }
        if late > 0 {
            effects.push(StoreEffect::Late(late));
        }
        if self.keys_dropped > 0 {
            effects.push(StoreEffect::KeysDropped(std::mem::take(&mut self.keys_dropped)));
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

    /// The next call that can begin. The last lane is reserved for waiting callers, the one before it for
    /// them and for claims.
    fn next_call(&mut self, now: Moment) -> Option<(Asked, Call)> {
        let free = Self::LANES - self.calls.len();
        if free == 0 {
            return None;
        }
        // A share for each lane, since a store may handle the keys one by one.
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

    fn can_write(&self) -> bool {
        let writing = self.calls.iter().filter(|call| matches!(call.asked, Asked::Write)).count();
        self.calls.len() + 2 < Self::LANES && writing < WRITE_LANES
    }

    /// When the machine needs a turn if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
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
                Asked::Claim(claims, late) => claims.get(*late).map(|waiting| waiting.due),
                Asked::Keep(..) | Asked::Release(_) | Asked::Write => None,
            };
            // It may be the last one that a drain or the close is waiting for.
            asked.or(Some(call.due).filter(|due| Some(*due) > self.settled_at))
        });
        fronts.into_iter().flatten().chain(calls).min()
    }

    /// Keys not known to have been kept or released.
    pub(crate) fn waiting(&self) -> usize {
        let called = self.calls.iter().map(|call| match &call.asked {
            Asked::Keep(keys, _) => *keys,
            Asked::Release(keys) => keys.len(),
            Asked::Read(_) | Asked::Claim(..) | Asked::Write => 0,
        });
        self.keeps.len() + self.releases.len() + called.sum::<usize>()
    }
}

/// The total length of the keys in bytes.
fn texts(keys: &[String]) -> usize {
    keys.iter().map(String::len).sum()
}

/// Takes those that have timed out, which are at the front.
fn take_due<T>(waiting: &mut VecDeque<Waiting<T>>, now: Moment) -> impl Iterator<Item = Waiting<T>> + '_ {
    let due = waiting.partition_point(|it| it.due <= now);
    waiting.drain(..due)
}
