//! Planted bugs, to show that the simulation finds them. They live where the simulation drives the pipeline,
//! so that no machine has a branch for them.

/// The bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A delivery counts as successful whatever the answer was.
    EarlyAck,
    /// The records of a failed delivery are forgotten.
    LostBatch,
    /// Delivered records are sent once more.
    DoubleSend,
    /// After a failure the endpoint is retried at once.
    NoPause,
    /// A dropped record leaves its deduplication mark behind in the store.
    LeftMark,
    /// A flush is answered by the first failure.
    EarlyEnd,
    /// The tracker blocks while the data store is asked about a record.
    AwaitedStore,
    /// The store's late answer to a claim is ignored.
    LostLease,
    /// With a store, memory keeps only a few marks, so that a failing store allows delivered records to be
    /// sent again.
    Forgotten,
    /// A reading counts a record that has just moved from the channel to the tracker in both places.
    CountedTwice,
    /// The tracker is told that records are on disk before they are.
    EarlyKept,
    /// What was delivered stays on disk.
    KeptForever,
    /// A request that goes again has a new id.
    NewId,
    /// All requests have one id.
    SharedId,
    /// The ids of requests are not on disk.
    UnnotedId,
    /// The answer for a request that is over is taken for the next one's.
    LateAnswer,
    /// A turn stops with work left, and does not say so.
    EarlyStop,
    /// The requests of a forked child have the numbers of its parent's.
    SharedNumbers,
}

impl Bug {
    /// Those of a pump.
    pub(super) const OF_A_PUMP: [Self; 3] = [Self::LateAnswer, Self::EarlyStop, Self::SharedNumbers];

    pub(super) const ALL: [Self; 15] = [
        Self::EarlyAck,
        Self::LostBatch,
        Self::DoubleSend,
        Self::NoPause,
        Self::LeftMark,
        Self::EarlyEnd,
        Self::AwaitedStore,
        Self::LostLease,
        Self::Forgotten,
        Self::CountedTwice,
        Self::EarlyKept,
        Self::KeptForever,
        Self::NewId,
        Self::SharedId,
        Self::UnnotedId,
    ];
}
