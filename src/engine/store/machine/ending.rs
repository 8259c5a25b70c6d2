//! What a drain and a close wait for.

use super::{Asked, Running, StoreEffect, StoreMachine};
use crate::engine::{Moment, Reply};

/// A caller that waits until everything requested before has been tried, or until its deadline.
pub(super) struct Drain {
    pub(super) reply: Reply<()>,
    pub(super) deadline: Moment,
    /// Visitors with lower tickets have to be offered to the store.
    pub(super) ticket: u64,
    /// Calls from this one on began after the request.
    pub(super) first_call: u64,
    /// Keys accepted before the request.
    pub(super) keys: KeyTotals,
    /// Visitor state has been offered.
    pub(super) written: bool,
    /// Once everything has been handed over: the calls before this one have to end.
    pub(super) until: Option<u64>,
}

/// How many keys have ever been accepted for keeping and releasing.
#[derive(Clone, Copy, Default)]
pub(super) struct KeyTotals {
    pub(super) keeps: u64,
    pub(super) releases: u64,
}

/// A close, which is waited for until its deadline.
pub(super) struct Closing {
    pub(super) deadline: Moment,
    /// Calls from this one on offer everything once more.
    pub(super) first_call: u64,
    /// The deadline has passed: no write is waited for any more.
    pub(super) over: bool,
}

impl KeyTotals {
    pub(super) const fn covers(self, asked: Self) -> bool {
        self.keeps >= asked.keeps && self.releases >= asked.releases
    }
}

impl Drain {
    /// A write call has ended; visitors with tickets below `next` no longer wait for one.
    pub(super) fn wrote(&mut self, call: u64, refused: bool, next: Option<u64>) {
        let through = next.is_none_or(|next| next >= self.ticket);
        if call >= self.first_call {
            // A refusal counts as an attempt.
            self.written = refused || through;
        } else if !through {
            // A visitor changed while being written, before the request.
            (self.written, self.until) = (false, None);
        }
    }
}

impl StoreMachine {
    pub(super) fn answer_drains(&mut self, now: Moment, effects: &mut Vec<StoreEffect>) {
        let (hangs, writes, next_call) = (self.hangs(now), self.writes(), self.next_call);
        let handed = KeyTotals {
            keeps: self.accepted.keeps - self.keeps.len() as u64,
            releases: self.accepted.releases - self.releases.len() as u64,
        };
        let holds_up = |call: &Running| match call.asked {
            Asked::Read(_) | Asked::Claim(..) => call.due > now,
            Asked::Keep(..) | Asked::Release(_) => !hangs,
            Asked::Write => true,
        };
        let runs = |until: u64| self.calls.iter().any(|call| call.id < until && holds_up(call));
        let ended = |drain: &mut Drain| {
            drain.written |= !writes;
            if drain.until.is_none() && drain.written && (handed.covers(drain.keys) || hangs) {
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

    /// Whether visitor state is being written or waiting to be.
    pub(super) fn writes(&self) -> bool {
        self.write_at.is_some() || self.calls.iter().any(|call| matches!(call.asked, Asked::Write))
    }

    /// Whether nothing new can be asked because overdue calls occupy the lanes.
    pub(super) fn hangs(&self, now: Moment) -> bool {
        self.calls.len() + 2 >= Self::LANES && self.calls.iter().all(|call| call.due <= now)
    }

    /// Whether all that is left is to wait for calls that may never end, or the time for that is over.
    pub(crate) fn is_idle(&self, now: Moment) -> bool {
        let (over, hangs) = (self.closing.as_ref().is_some_and(|closing| closing.over), self.hangs(now));
        let all_begun = self.reads.is_empty()
            && self.claims.is_empty()
            && self.keeps.is_empty()
            && self.releases.is_empty();
        let written = self.write_at.is_none() || self.refused || over;
        let has_ended = |call: &Running| match call.asked {
            Asked::Read(_) | Asked::Claim(..) => call.due <= now,
            Asked::Keep(..) | Asked::Release(_) => call.due <= now && (over || hangs),
            Asked::Write => over,
        };
        (all_begun || hangs) && written && self.calls.iter().all(has_ended)
    }
}

impl Running {
    fn is_write_before(&self, until: u64) -> bool {
        self.id < until && matches!(self.asked, Asked::Write)
    }
}
