//! The ledger.

use convert_sdk::Stats;

use crate::border::Versioned;

/// The ledger of a core, in records: each exposure and each conversion is one. Always
/// `recorded == deduplicated + delivered + withheld + pending + dropped`. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertStats {
    /// `sizeof(ConvertStats)`.
    pub size: usize,
    /// All exposures and conversions handed to the tracker, including those it refused.
    pub recorded: u64,
    /// Duplicates, for which nothing is sent.
    pub deduplicated: u64,
    /// Accepted by the endpoint.
    pub delivered: u64,
    /// Neither delivered nor dropped yet.
    pub pending: u64,
    /// Lost, for any reason.
    pub dropped: u64,
    /// Wire events in the delivered records; a conversion with goal data is two.
    pub delivered_events: u64,
    /// Delivery requests sent.
    pub requests: u64,
    /// How many of them carried records that an earlier one had carried.
    pub retries: u64,
    /// How many of them ended without a response.
    pub fate_unknown: u64,
    /// Bytes of all request bodies.
    pub sent_bytes: u64,
    /// Lifecycle events that a slow callback or subscriber missed.
    pub events_missed: u64,
    /// Caught panics.
    pub panics: u64,
    /// The number of forks between the process that first used the library and this one.
    pub fork_generation: u64,
    /// Withheld by an offline core.
    pub withheld: u64,
}

// SAFETY: `repr(C)`, the size first, integers after it.
unsafe impl Versioned for ConvertStats {
    const FIRST: usize = size_of::<Self>();
}

pub(crate) const fn stats(stats: &Stats) -> ConvertStats {
    ConvertStats {
        size: size_of::<ConvertStats>(),
        recorded: stats.recorded,
        deduplicated: stats.deduplicated,
        delivered: stats.delivered,
        pending: stats.pending,
        dropped: stats.dropped.total(),
        delivered_events: stats.delivered_events,
        requests: stats.requests,
        retries: stats.retries,
        fate_unknown: stats.fate_unknown,
        sent_bytes: stats.sent_bytes,
        events_missed: stats.events_missed,
        panics: stats.panics,
        fork_generation: stats.fork_generation,
        withheld: stats.withheld,
    }
}
