//! Lifecycle events: what the SDK tells the application about itself.

use std::fmt;
use std::time::Duration;

use smol_str::SmolStr;

use super::{Queued, ReleaseReason, TrackedEvent};
use crate::config::{ConfigChanges, ConfigSnapshot};
use crate::diagnostics::DiagnosticReason;
use crate::error::ConfigCacheError;
use crate::ports::{DeliveryFailure, Receipt};

/// Something that happened in the SDK. Watched with [`Core::on`](crate::Core::on) or
/// [`Core::subscribe`](crate::Core::subscribe). `Debug` shows no visitor id.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// The first config is in place.
    #[non_exhaustive]
    Ready {
        /// The config's account.
        account_id: SmolStr,
        /// The config's project.
        project_id: SmolStr,
    },
    /// A fetched config has replaced the previous one.
    #[non_exhaustive]
    ConfigUpdated {
        /// The config's account.
        account_id: SmolStr,
        /// The config's project.
        project_id: SmolStr,
        /// How many entities were added, removed and changed.
        changes: ConfigChanges,
    },
    /// The current config could not be confirmed for [`max_stale`](crate::SdkConfigBuilder::max_stale).
    #[non_exhaustive]
    ConfigStale {
        /// The config's account.
        account_id: SmolStr,
        /// The config's project.
        project_id: SmolStr,
        /// Since it was last known to be current.
        age: Duration,
    },
    /// A config that was stale has been confirmed to be current. One that replaces it is a
    /// [`ConfigUpdated`](Self::ConfigUpdated).
    #[non_exhaustive]
    ConfigConfirmed {
        /// The config's account.
        account_id: SmolStr,
        /// The config's project.
        project_id: SmolStr,
    },
    /// The application's [check](crate::SdkConfigBuilder::accept_config) did not accept a config.
    #[non_exhaustive]
    ConfigNotAccepted {
        /// The config's account.
        account_id: SmolStr,
        /// The config's project.
        project_id: SmolStr,
        /// What it would have changed.
        changes: ConfigChanges,
    },
    /// The [config cache](crate::SdkConfigBuilder::config_cache) is not used, or could not be written. Announced
    /// once until something else fails or a write succeeds.
    #[non_exhaustive]
    ConfigCacheFailed {
        /// The cause.
        error: ConfigCacheError,
    },
    /// A visitor's first exposure to an experience was accepted for delivery.
    #[non_exhaustive]
    Bucketing {
        /// The visitor.
        visitor_id: VisitorId,
        /// The experience.
        experience_id: SmolStr,
        /// The variation that the visitor was assigned to.
        variation_id: SmolStr,
    },
    /// The tracker has decided whether a conversion is the first.
    #[non_exhaustive]
    Conversion {
        /// The visitor.
        visitor_id: VisitorId,
        /// The goal.
        goal_id: SmolStr,
        /// The goal's key.
        goal_key: SmolStr,
        /// Whether it repeats an earlier one, so that nothing is sent.
        deduplicated: bool,
    },
    /// A delivery has ended.
    #[non_exhaustive]
    ApiQueueReleased {
        /// Why the records were released.
        reason: ReleaseReason,
        /// The number of records carried.
        batch_size: usize,
        /// The number of distinct visitors among them.
        visitor_count: usize,
        /// The number of wire events.
        event_count: usize,
        /// The HTTP status, if the sink reported one.
        status: Option<u16>,
        /// How many failed attempts preceded this one.
        retry_attempts: u32,
        /// Why the records were not delivered, or may not have been.
        error: Option<DeliveryFailure>,
    },
    /// The endpoint refuses all events: the key, the account or the URL is wrong. Announced once until it
    /// accepts some again; pending records are kept until they expire.
    #[non_exhaustive]
    DeliveryRefused {
        /// The HTTP status, if the sink reported one.
        status: Option<u16>,
    },
    /// Visitor state was written to the data store, or was still unwritten at the end of a flush or a close.
    #[non_exhaustive]
    DataStoreQueueReleased {
        /// The number of visitors written.
        written: usize,
        /// Visitors that the store refused or did not take in time; they are kept and retried, except after a
        /// close.
        left: usize,
    },
    /// The outbox has failed or was late, so records are delivered from memory alone. Announced once until it takes
    /// some again; [`Stats::outbox_missed`](crate::Stats::outbox_missed) counts all.
    #[non_exhaustive]
    OutboxFailed {
        /// The number of records.
        records: u64,
    },
    /// A `diagnose_*` call did not resolve.
    #[non_exhaustive]
    Diagnostic {
        /// The reason code.
        reason: DiagnosticReason,
        /// The requested key.
        entity_key: SmolStr,
    },
}

/// The kinds of [`LifecycleEvent`], with the names that the official SDKs give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifecycleEventKind {
    /// `ready`.
    Ready,
    /// `config.updated`.
    ConfigUpdated,
    /// `config.stale`; the official SDKs do not have this and the next three.
    ConfigStale,
    /// `config.confirmed`.
    ConfigConfirmed,
    /// `config.not_accepted`.
    ConfigNotAccepted,
    /// `config.cache.failed`.
    ConfigCacheFailed,
    /// `bucketing`.
    Bucketing,
    /// `conversion`.
    Conversion,
    /// `api.queue.released`.
    ApiQueueReleased,
    /// `api.queue.refused`; the official SDKs have no such event.
    DeliveryRefused,
    /// `datastore.queue.released`.
    DataStoreQueueReleased,
    /// `outbox.failed`; the official SDKs have no such event.
    OutboxFailed,
    /// `diagnostic`.
    Diagnostic,
}

/// A visitor's id, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VisitorId(SmolStr);

impl LifecycleEvent {
    /// The kind of this event.
    #[must_use]
    pub const fn kind(&self) -> LifecycleEventKind {
        match self {
            Self::Ready { .. } => LifecycleEventKind::Ready,
            Self::ConfigUpdated { .. } => LifecycleEventKind::ConfigUpdated,
            Self::ConfigStale { .. } => LifecycleEventKind::ConfigStale,
            Self::ConfigConfirmed { .. } => LifecycleEventKind::ConfigConfirmed,
            Self::ConfigNotAccepted { .. } => LifecycleEventKind::ConfigNotAccepted,
            Self::ConfigCacheFailed { .. } => LifecycleEventKind::ConfigCacheFailed,
            Self::Bucketing { .. } => LifecycleEventKind::Bucketing,
            Self::Conversion { .. } => LifecycleEventKind::Conversion,
            Self::ApiQueueReleased { .. } => LifecycleEventKind::ApiQueueReleased,
            Self::DeliveryRefused { .. } => LifecycleEventKind::DeliveryRefused,
            Self::DataStoreQueueReleased { .. } => LifecycleEventKind::DataStoreQueueReleased,
            Self::OutboxFailed { .. } => LifecycleEventKind::OutboxFailed,
            Self::Diagnostic { .. } => LifecycleEventKind::Diagnostic,
        }
    }

    pub(crate) fn ready(snapshot: &ConfigSnapshot) -> Self {
        Self::Ready { account_id: snapshot.account_id().into(), project_id: snapshot.project_id().into() }
    }

    pub(crate) fn config_updated(snapshot: &ConfigSnapshot, changes: ConfigChanges) -> Self {
        Self::ConfigUpdated {
            account_id: snapshot.account_id().into(),
            project_id: snapshot.project_id().into(),
            changes,
        }
    }

    pub(crate) fn config_stale(config: &ConfigSnapshot, age: Duration) -> Self {
        Self::ConfigStale {
            account_id: config.account_id().into(),
            project_id: config.project_id().into(),
            age,
        }
    }

    pub(crate) fn config_confirmed(config: &ConfigSnapshot) -> Self {
        Self::ConfigConfirmed {
            account_id: config.account_id().into(),
            project_id: config.project_id().into(),
        }
    }

    pub(crate) fn config_not_accepted(config: &ConfigSnapshot, changes: ConfigChanges) -> Self {
        Self::ConfigNotAccepted {
            account_id: config.account_id().into(),
            project_id: config.project_id().into(),
            changes,
        }
    }

    pub(crate) fn recorded(event: &TrackedEvent, deduplicated: bool) -> Self {
        match event {
            TrackedEvent::Exposure(exposure) => Self::Bucketing {
                visitor_id: VisitorId(exposure.visitor_id.clone()),
                experience_id: exposure.experience_id.clone(),
                variation_id: exposure.variation_id.clone(),
            },
            TrackedEvent::Conversion(conversion) => Self::Conversion {
                visitor_id: VisitorId(conversion.visitor_id.clone()),
                goal_id: conversion.goal_id.clone(),
                goal_key: conversion.goal_key.clone(),
                deduplicated,
            },
        }
    }

    pub(crate) fn released(
        records: &[Queued],
        reason: ReleaseReason,
        retry_attempts: u32,
        result: &Result<Receipt, DeliveryFailure>,
    ) -> Self {
        let mut visitors: Vec<&SmolStr> = records.iter().map(|queued| queued.event.visitor_id()).collect();
        visitors.sort_unstable();
        visitors.dedup();
        Self::ApiQueueReleased {
            reason,
            batch_size: records.len(),
            visitor_count: visitors.len(),
            event_count: records.iter().map(|queued| queued.event.wire_events()).sum(),
            status: result.as_ref().map_or_else(DeliveryFailure::status, |receipt| receipt.status),
            retry_attempts,
            error: result.as_ref().err().cloned(),
        }
    }
}

impl LifecycleEventKind {
    /// The official name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ConfigUpdated => "config.updated",
            Self::ConfigStale => "config.stale",
            Self::ConfigConfirmed => "config.confirmed",
            Self::ConfigNotAccepted => "config.not_accepted",
            Self::ConfigCacheFailed => "config.cache.failed",
            Self::Bucketing => "bucketing",
            Self::Conversion => "conversion",
            Self::ApiQueueReleased => "api.queue.released",
            Self::DeliveryRefused => "api.queue.refused",
            Self::DataStoreQueueReleased => "datastore.queue.released",
            Self::OutboxFailed => "outbox.failed",
            Self::Diagnostic => "diagnostic",
        }
    }
}

impl fmt::Display for LifecycleEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl VisitorId {
    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first 16 hex digits of the id's SHA-256, as in diagnoses: serialized events may end up in a log.
#[cfg(feature = "serde")]
impl serde::Serialize for VisitorId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::diagnostics::visitor_ref(&self.0))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for LifecycleEventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Debug for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
