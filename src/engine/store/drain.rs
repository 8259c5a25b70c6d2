//! What a drain and the end wait for.

use crate::engine::{Moment, Reply};

/// Someone who waits until what was asked before has been tried, and until when.
pub(super) struct Drain {
    pub(super) reply: Reply<()>,
    pub(super) deadline: Moment,
    /// Visitors with lower tickets are to be offered to the store.
    pub(super) ticket: u64,
    /// Calls from this one on began after the question.
    pub(super) first_call: u64,
    /// So many keys were to be kept and released before the question.
    pub(super) told: Told,
    /// Visitor state has been offered.
    pub(super) written: bool,
    /// Once everything has been handed over: the calls before this one must have ended.
    pub(super) until: Option<u64>,
}

/// How many keys there were to be kept and released, ever.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) keeps: u64,
    pub(super) releases: u64,
}

/// The end, which is waited for until its deadline.
pub(super) struct Closing {
    pub(super) deadline: Moment,
    /// Calls from this one on offer everything once more.
    pub(super) first_call: u64,
    /// The deadline has passed, and the end waits for no write any more.
    pub(super) over: bool,
}

impl Told {
    pub(super) const fn covers(self, asked: Self) -> bool {
        self.keeps >= asked.keeps && self.releases >= asked.releases
    }
}

impl Drain {
    /// A write call has ended, which visitors with tickets below `next` do not wait for any more.
    pub(super) fn wrote(&mut self, call: u64, refused: bool, next: Option<u64>) {
        let through = next.is_none_or(|next| next >= self.ticket);
        if call >= self.first_call {
            // What is refused has been tried.
            self.written = refused || through;
        } else if !through {
            // Someone has changed while being written, before the question.
            (self.written, self.until) = (false, None);
        }
    }
}
