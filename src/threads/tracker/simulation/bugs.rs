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
}

impl Bug {
    pub(super) const ALL: [Self; 10] = [
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
    ];
}
