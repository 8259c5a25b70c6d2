//! What keeps records over the end of a process, until they are delivered.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

/// Keeps recorded events until they are delivered, so that they outlive a process that is killed.
///
/// Each process has files of its own there; another one [adopts](OutboxFile::adopt) what a process has left behind.
/// All calls are made by one thread of the SDK's for each core (`convert-outbox`), so a slow outbox delays deliveries
/// and nothing else: what could not be written, or waits for an outbox that is silent for 5 s, is delivered from memory
/// and counted in [`Stats::outbox_missed`](crate::Stats::outbox_missed).
pub trait Outbox: Send + Sync + 'static {
    /// Begins to keep the records of one project (`{account}/{project}`) for one process. Called again after a failure,
    /// and in a forked child, which makes no other use of what its parent began.
    ///
    /// # Errors
    /// Nothing can be kept now.
    fn begin(&self, project: &str) -> Result<Box<dyn OutboxFile>, OutboxError>;
}

/// What one process keeps. Dropping it leaves what is still there for others to adopt.
pub trait OutboxFile: Send {
    /// Removes records that need not be kept any longer, then keeps a group of new ones, which have to outlive the
    /// process once this returns. Returns one id for each new one, in order. Unknown records to be removed are no
    /// error. If there are new ones, all of this is done or none of it: a new one may replace one that is removed.
    ///
    /// # Errors
    /// None of the new ones is kept. Those to be removed may still be there; a later call has them again.
    fn write(&mut self, removed: &[RecordId], new: &[OutboxRecord<'_>])
    -> Result<Vec<RecordId>, OutboxError>;

    /// Takes over records of the same project left behind by processes that are gone: up to so many records and
    /// bytes, but at least one if there is any, and none twice. They stay until they are removed.
    ///
    /// # Errors
    /// Nothing can be taken over now.
    fn adopt(&mut self, most_records: usize, most_bytes: usize) -> Result<Adopted, OutboxError>;

    /// Notes that a batch with this id is about to carry these records, in this order, which has to outlive the process
    /// once this returns. Whoever adopts a record is told its place in the last batch noted for it
    /// ([`LeftRecord::batch`]). Called only with [`batch_ids`](crate::config::TransportConfigBuilder::batch_ids). By
    /// default nothing is noted, and what is adopted goes under new ids.
    ///
    /// # Errors
    /// Nothing of it is noted. The batch is sent nevertheless.
    fn note(&mut self, batch: &str, records: &[RecordId]) -> Result<(), OutboxError> {
        let _ = (batch, records);
        Ok(())
    }
}

/// A record to be kept. `Debug` does not show its content.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct OutboxRecord<'a> {
    /// What kind of record it is.
    pub kind: RecordKind,
    /// When it was recorded.
    pub recorded_at: SystemTime,
    /// Its content: a JSON object with visitor data.
    pub content: &'a [u8],
}

/// A record that another process has left behind. `Debug` does not show its content.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftRecord {
    /// What [`OutboxFile::write`] is to call it when it is removed.
    pub id: RecordId,
    /// When it was recorded.
    pub recorded_at: SystemTime,
    /// Its content, as it was given.
    pub content: Vec<u8>,
    /// Its place in the last batch [noted](OutboxFile::note) for it.
    pub batch: Option<BatchPlace>,
}

/// The place of a record in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchPlace {
    /// The batch's id.
    pub id: Arc<str>,
    /// How many records of the batch come before it.
    pub place: usize,
    /// How many records the batch has.
    pub of: usize,
}

/// What was taken over from processes that are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The records, those of one process in their order.
    pub records: Vec<LeftRecord>,
    /// How many more are known to be damaged. They need not be removed.
    pub damaged: u64,
    /// How many more are known to be there, for the next calls.
    pub left: u64,
    /// How many of the processes whose records this call has begun to take over did not shut down cleanly.
    pub killed: u64,
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordKind {
    /// A visitor saw a variation.
    Exposure,
    /// A visitor reached a goal.
    Conversion,
    /// A conversion with revenue.
    Revenue,
}

/// Names a kept record; only what made it knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u64);

/// An outbox's own reason for a failure. It is logged: do not include records or paths.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("outbox: {0}")]
pub struct OutboxError(Box<str>);

impl<'a> OutboxRecord<'a> {
    /// A record with this content.
    #[must_use]
    pub const fn new(kind: RecordKind, recorded_at: SystemTime, content: &'a [u8]) -> Self {
        Self { kind, recorded_at, content }
    }
}

impl LeftRecord {
    /// A record with this content.
    #[must_use]
    pub const fn new(id: RecordId, recorded_at: SystemTime, content: Vec<u8>) -> Self {
        Self { id, recorded_at, content, batch: None }
    }

    /// The same, in a batch.
    #[must_use]
    pub fn with_batch(self, batch: Option<BatchPlace>) -> Self {
        Self { batch, ..self }
    }
}

impl BatchPlace {
    /// A place in the batch with this id.
    #[must_use]
    pub const fn new(id: Arc<str>, place: usize, of: usize) -> Self {
        Self { id, place, of }
    }
}

impl RecordKind {
    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exposure => "exposure",
            Self::Conversion => "conversion",
            Self::Revenue => "revenue",
        }
    }
}

impl RecordId {
    /// The name of a record.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number that it was made of.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl OutboxError {
    /// An error with this reason.
    #[must_use]
    pub fn new(reason: impl Into<Box<str>>) -> Self {
        Self(reason.into())
    }

    /// A stable name for logs and dashboards: always `"outbox"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "outbox"
    }
}

impl<O: Outbox + ?Sized> Outbox for Arc<O> {
    fn begin(&self, project: &str) -> Result<Box<dyn OutboxFile>, OutboxError> {
        (**self).begin(project)
    }
}

impl fmt::Debug for OutboxRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxRecord").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for LeftRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftRecord").field("id", &self.id).finish_non_exhaustive()
    }
}
