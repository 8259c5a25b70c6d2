//! Bugs on purpose, so that the simulation can be seen to find them. They live where the simulation holds
//! the pipeline, so that no machine has a branch for them.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A delivery counts as taken whatever the answer to it was.
    EarlyAck,
    /// What a failed delivery carried is forgotten.
    LostBatch,
    /// What was delivered is sent once more.
    DoubleSend,
    /// After a failure the endpoint is tried again at once.
    NoPause,
    /// A dropped record leaves its deduplication mark behind in the store.
    LeftMark,
    /// A flush is answered by the first failure.
    EarlyEnd,
    /// The tracker does nothing while the data store is asked about a record.
    AwaitedStore,
    /// The store's late answer to a claim is not heard.
    LostLease,
    /// Beside a store, memory keeps a few marks only, so that a store that fails lets what was delivered be sent
    /// again.
    Forgotten,
    /// A reading counts what has just moved from the channel to the tracker in both places.
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
