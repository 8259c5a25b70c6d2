//! The life of a core: created, initialized, flushed, closed, and its ledger.

use convert_sdk::delivery::{FlushOptions, FlushReport};
use convert_sdk::{Core, FlushError, register_exit_flush};

use crate::border::{ConvertString, Given, Place, Versioned, give};
use crate::options::{ConvertConfig, config, milliseconds};
use crate::stats::{ConvertStats, stats};
use crate::status::{Answer, ConvertStatus, Fault, answer, need, value};

/// One SDK instance. Any number of threads may use it at the same time; `convert_core_free` must be the last call.
///
/// After a fork the child uses its cores, contexts and handles as they are, without any further call; the
/// parent delivers what it has recorded.
pub struct ConvertCore(pub(crate) Core);

/// The result of a flush or a shutdown, in records. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertFlushReport {
    /// `sizeof(ConvertFlushReport)`.
    pub size: usize,
    /// Accepted by the endpoint while the call waited.
    pub delivered: u64,
    /// Dropped since the last flush that ended with `CONVERT_STATUS_OK` or `CONVERT_STATUS_INCOMPLETE`; for a
    /// shutdown, also what its close dropped.
    pub dropped: u64,
    /// Kept, and retried unless the core is closed.
    pub pending: u64,
}

// SAFETY: `repr(C)`, the size first, integers after it.
unsafe impl Versioned for ConvertFlushReport {
    const FIRST: usize = size_of::<Self>();
}

/// Creates a core. It starts no thread and uses no network until needed.
///
/// Fails with `CONVERT_STATUS_INVALID_OPTION` and the like; `*core` is then null. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_new(
    options: *const ConvertConfig,
    core: Given<'_, ConvertCore>,
) -> ConvertStatus {
    answer(|| {
        give(core, "core", || {
            let (config, owned) = config(options)?;
            let core = Core::new(config);
            owned.take_over();
            Ok(ConvertCore(core))
        })
    })
}

/// Frees the core's handle; no other thread may be in a call with it. This delivers nothing: call
/// `convert_core_shutdown` first. Contexts stay usable, and the core's threads end with the last of them.
/// Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_free(core: Option<Box<ConvertCore>>) {
    answer(|| {
        drop(core);
        Ok(())
    });
}

/// Loads the first config, waiting up to `timeout` milliseconds (0: the configured time). Does nothing if the
/// core is ready; after a failure it can be called again. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_initialize(core: Option<&ConvertCore>, timeout: u64) -> ConvertStatus {
    answer(|| {
        let core = &need(core, "core")?.0;
        Ok(if timeout == 0 { core.initialize() } else { core.initialize_within(milliseconds(timeout)) }?)
    })
}

/// Whether the core has a config. Never waits. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_is_ready(core: Option<&ConvertCore>) -> bool {
    value(false, || Ok(need(core, "core")?.0.is_ready()))
}

/// Triggers a fetch of the config and returns at once. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_refresh_soon(core: Option<&ConvertCore>) -> ConvertStatus {
    answer(|| {
        need(core, "core")?.0.refresh_now();
        Ok(())
    })
}

/// Fetches the config, waiting up to `timeout` milliseconds. Existing contexts keep theirs. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_refresh(core: Option<&ConvertCore>, timeout: u64) -> ConvertStatus {
    answer(|| {
        need(core, "core")?.0.refresh_now_within(milliseconds(timeout))?;
        Ok(())
    })
}

/// Waits up to `timeout` milliseconds until everything recorded before is delivered; if `single_attempt` is
/// not 0, the wait ends with the first failed attempt. `report` may be null. Any thread except that of an
/// event callback.
///
/// `CONVERT_STATUS_OK` means that everything was delivered and nothing was lost since the last flush.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_flush(
    core: Option<&ConvertCore>,
    timeout: u64,
    single_attempt: u32,
    report: *mut ConvertFlushReport,
) -> ConvertStatus {
    answer(|| {
        let (core, report) = (&need(core, "core")?.0, Place::optional(report, "report")?);
        let options = FlushOptions::within(milliseconds(timeout)).single_attempt(single_attempt != 0);
        reported(core.flush_with(options), report)
    })
}

/// Flushes and closes, waiting up to `timeout` milliseconds for both. The core is closed in any case: nothing
/// is recorded afterwards, but contexts still decide. `report` may be null. Any thread except that of an
/// event callback.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_shutdown(
    core: Option<&ConvertCore>,
    timeout: u64,
    report: *mut ConvertFlushReport,
) -> ConvertStatus {
    answer(|| {
        let (core, report) = (&need(core, "core")?.0, Place::optional(report, "report")?);
        reported(core.shutdown(milliseconds(timeout)), report)
    })
}

/// Closes without a flush; waits up to 5 s for the core's threads. `final_stats` may be null. With a pump it
/// only begins to close, and `final_stats` is the ledger at that moment: see `convert_pump_close`. Any thread
/// except that of an event callback of a core with threads.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_close(
    core: Option<&ConvertCore>,
    final_stats: *mut ConvertStats,
) -> ConvertStatus {
    answer(|| {
        let (core, place) = (&need(core, "core")?.0, Place::optional(final_stats, "final_stats")?);
        let closed = core.close();
        if let Some(place) = place {
            place.write(stats(&closed));
        }
        Ok(())
    })
}

/// Flushes the core at a normal exit of the process, for at most `timeout` milliseconds, unless the core was
/// freed before. `CONVERT_STATUS_UNSUPPORTED` if the system gives no notice of an exit, and for a core with a
/// pump. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_flush_at_exit(core: Option<&ConvertCore>, timeout: u64) -> ConvertStatus {
    answer(|| {
        let refused = "the core has a pump, or the system gives no notice of an exit";
        register_exit_flush(&need(core, "core")?.0, milliseconds(timeout))
            .map_err(|_| Fault::new(ConvertStatus::Unsupported, refused))
    })
}

/// The current ledger. Never waits. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_stats(core: Option<&ConvertCore>, result: *mut ConvertStats) -> ConvertStatus {
    answer(|| {
        Place::new(result, "result")?.write(stats(&need(core, "core")?.0.stats()));
        Ok(())
    })
}

/// The whole ledger, with the reasons of drops, as JSON text, to be freed with `convert_string_free`. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_stats_json(
    core: Option<&ConvertCore>,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| give(json, "json", || ConvertString::json(&need(core, "core")?.0.stats())))
}

pub(crate) fn reported(
    flushed: Result<FlushReport, FlushError>,
    place: Option<Place<ConvertFlushReport>>,
) -> Answer {
    let size = size_of::<ConvertFlushReport>();
    let found = |report: &FlushReport| ConvertFlushReport {
        size,
        delivered: report.delivered,
        dropped: report.dropped,
        pending: report.pending,
    };
    let values = match &flushed {
        Ok(report) => found(report),
        Err(error) => {
            // Without a report, nothing was begun.
            let pending = error.stats().pending;
            let nothing = ConvertFlushReport { size, delivered: 0, dropped: 0, pending };
            error.report().map_or(nothing, found)
        }
    };
    if let Some(place) = place {
        place.write(values);
    }
    flushed?;
    Ok(())
}
