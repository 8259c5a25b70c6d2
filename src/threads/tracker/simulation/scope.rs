//! What may happen in a run of the simulation, and how often.

use std::time::Duration;

use super::Bug;
use super::choices::Choices;
use super::server::Answer;
use crate::options::{DeliveryConfig, OverflowPolicy};

/// What may happen in a run.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) batch_size: usize,
    pub(super) auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    /// At the start.
    pub(super) processes: usize,
    /// Whether they share a data store, and with it their visitors.
    pub(super) store: bool,
    /// Whether each has an outbox, on a disk that they share.
    pub(super) outbox: bool,
    /// Whether requests have ids, which the endpoint then remembers.
    pub(super) batch_ids: bool,
    /// Whether a pump drives them, and how many records a step takes then.
    pub(super) slice: Option<usize>,
    /// The most times each thing may happen.
    pub(super) records: usize,
    pub(super) flushes: usize,
    /// How long a flush may take, and whether it is limited to one attempt.
    pub(super) flush_ways: Vec<(Duration, bool)>,
    pub(super) closes: usize,
    pub(super) forks: usize,
    pub(super) faults: usize,
    pub(super) store_faults: usize,
    pub(super) outbox_faults: usize,
    pub(super) kills: usize,
    /// Whether only a process with a request under way is killed.
    pub(super) kills_senders: bool,
    pub(super) advances: usize,
    pub(super) visitors: Visitors,
    /// The faults that may occur.
    pub(super) answers: Vec<Answer>,
    pub(super) bug: Option<Bug>,
}

/// Which visitors are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visitors {
    /// A new one each time.
    New,
    /// Always the same one.
    One,
    /// Most are new, some return, some have long names, and some are refused by the endpoint.
    Many,
}

/// A random scope.
pub(super) fn random_scope(choices: &mut impl Choices, bug: Option<Bug>) -> Scope {
    let seconds = |seconds: usize| Duration::from_secs(seconds as u64);
    let batch_ids = choices.once_in(2);
    let delivery = DeliveryConfig::builder()
        .queue_capacity(1 + choices.below(20))
        .max_queued_bytes([200, 1_500, 1 << 20][choices.below(3)])
        .max_pending_records(1 + choices.below(30))
        .max_pending_bytes([2_000, 1 << 20][choices.below(2)])
        .overflow(choices.pick(&[
            OverflowPolicy::EvictLeastValuable,
            OverflowPolicy::EvictLeastValuable,
            OverflowPolicy::DropNewest,
            OverflowPolicy::Wait(Duration::ZERO),
        ]))
        .max_request_events(1 + choices.below(8))
        .max_request_bytes([500, 1 << 20][choices.below(2)])
        .lanes(1 + choices.below(3))
        .max_age(seconds([30, 86_400][choices.below(2)]))
        .backoff_ceiling(seconds(1 + choices.below(60)))
        .breaker_threshold(1 + u32::try_from(choices.below(4)).unwrap())
        .build()
        .unwrap();
    Scope {
        batch_size: 1 + choices.below(6),
        auto_flush_interval: choices.once_in(2).then(|| seconds(1 + choices.below(10))),
        delivery,
        processes: 1,
        store: choices.once_in(2),
        outbox: choices.once_in(2),
        batch_ids,
        slice: None,
        records: 10 + choices.below(60),
        flushes: choices.below(6),
        flush_ways: vec![
            (seconds(0), false),
            (seconds(1), false),
            (seconds(5), false),
            (seconds(60), false),
            (seconds(60), true),
        ],
        closes: usize::from(choices.once_in(3)),
        forks: choices.below(3),
        faults: choices.below(20),
        store_faults: choices.below(12),
        outbox_faults: choices.below(6),
        kills: choices.below(4),
        kills_senders: batch_ids,
        advances: choices.below(20),
        visitors: Visitors::Many,
        answers: vec![
            Answer::OK,
            Answer::OK,
            Answer::Status(500, None),
            Answer::Status(503, Some(7)),
            Answer::Status(503, Some(0)),
            Answer::Status(429, Some(100_000)),
            Answer::Status(408, None),
            Answer::Status(413, None),
            Answer::Gone,
            Answer::Refused,
            Answer::LostUnheard,
            Answer::TakenUnheard,
            Answer::TakenFailing,
        ],
        bug,
    }
}
