//! The pump: a core without threads that works in turns, and whose requests the application carries.

use std::cell::RefCell;
use std::time::Duration;

use convert_sdk::config::RefreshOutcome;
use convert_sdk::delivery::{FlushOptions, FlushReport};
use convert_sdk::error::{InitializeError, RefreshError};
use convert_sdk::ports::TransportError;
use convert_sdk::pump::{self, Pump, Question, Request, RequestId};
use convert_sdk::{Core, FlushError, Stats};

use crate::border::{Given, Out, Place, Versioned, emptied, give, list_or_empty};
use crate::core::{ConvertCore, ConvertFlushReport, reported};
use crate::options::{ConvertConfig, ConvertHeader, config, milliseconds};
use crate::status::{Answer, ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;

/// Does the work of a core without threads. One thread at a time; the core, its contexts and handles can be
/// used on any thread.
///
/// Event callbacks and `accept_config` run in a turn. There, every call of that turn's pump gives
/// `CONVERT_STATUS_BUSY` and changes nothing, except `convert_pump_free`.
///
/// In a forked child the pump is the child's own; the parent sends its own requests.
pub struct ConvertPump(Pump);

/// An HTTP request for the application to carry. Its texts are valid until it is freed. Any thread.
pub struct ConvertRequest(Request);

/// A question to a pump, answered by a later turn. One thread at a time. In a child that is forked before
/// the answer was given, it stays `CONVERT_STATUS_PENDING` for ever: ask anew there.
pub struct ConvertQuestion(Asked);

enum Asked {
    Ready(Question<Result<(), InitializeError>>),
    Fresh(Question<Result<RefreshOutcome, RefreshError>>),
    Flushed(Box<Question<Result<FlushReport, FlushError>>>),
    Closed(Box<Question<Stats>>),
}

/// What a turn did, and what is left. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertPumpReport {
    /// `sizeof(ConvertPumpReport)`.
    pub size: usize,
    /// Callbacks that were called.
    pub handlers_run: u64,
    /// Requests that became ready for `convert_pump_next_request`.
    pub requests_started: u64,
    /// Requests that were concluded: answered, timed out or ended by a close.
    pub requests_ended: u64,
    /// Not 0: there was more to do than the budget allowed.
    pub work_left: u64,
    /// In how many microseconds there is work again if nothing else happens; `UINT64_MAX` if none is to come.
    pub next_due: u64,
}

// SAFETY: `repr(C)`, the size first, integers after it.
unsafe impl Versioned for ConvertPumpReport {
    const FIRST: usize = size_of::<Self>();
}

thread_local! {
    /// The pumps that this thread is in a call of, the innermost last, and whether a callback has freed them meanwhile.
    static ENTERED: RefCell<Vec<(*const ConvertPump, bool)>> = const { RefCell::new(Vec::new()) };
}

/// On the list for as long as it lives. A thread that is ending has no list any more, nor a turn that could call back.
struct Entered;

impl Entered {
    fn enter(pump: *const ConvertPump) -> Answer<Self> {
        if Self::has(pump, |_| ()) {
            let message = "a callback calls the pump whose turn is calling it";
            return Err(Fault::new(ConvertStatus::Busy, message));
        }
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push((pump, false)));
        Ok(Self)
    }

    /// Whether this thread is in a call of it; if so, `note` gets whether it was freed.
    fn has(pump: *const ConvertPump, note: impl FnOnce(&mut bool)) -> bool {
        let search = |entered: &RefCell<Vec<(*const ConvertPump, bool)>>| {
            entered
                .borrow_mut()
                .iter_mut()
                .find(|(it, _)| *it == pump)
                .map(|(_, freed)| note(freed))
                .is_some()
        };
        ENTERED.try_with(search).unwrap_or(false)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Off the list before it is freed, which may call back.
        let left = ENTERED.try_with(|entered| entered.borrow_mut().pop()).ok().flatten();
        if let Some((pump, true)) = left {
            free(pump.cast_mut());
        }
    }
}

/// Calls the pump, unless this thread is in a call of it already.
fn with<T>(pump: *const ConvertPump, work: impl FnOnce(&mut Pump) -> Answer<T>) -> Answer<T> {
    if pump.is_null() {
        return Err(Fault::null("pump"));
    }
    let _entered = Entered::enter(pump)?;
    // SAFETY: not null. The caller of the library guarantees a pump that nobody has freed yet, nor frees on another
    // thread, and that no other thread is in a call of it; nor is this one, as checked.
    work(unsafe { &mut (*pump.cast_mut()).0 })
}

fn free(pump: *mut ConvertPump) {
    // SAFETY: the caller of the library guarantees a pump that was given to it and not freed before; no call is in it.
    drop(unsafe { Box::from_raw(pump) });
}

/// Creates a core without threads, and the pump that does its work: no thread ever exists, and no call waits.
/// Calls that wait with a threaded core are questions to the pump; the core's own versions of them return
/// `CONVERT_STATUS_WOULD_BLOCK`, except `convert_core_close`, which begins to close and returns.
/// `for_game_loop` in the configuration suits it. On failure, both are null. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_new_pumped(
    options: *const ConvertConfig,
    core: Given<'_, ConvertCore>,
    pump: Given<'_, ConvertPump>,
) -> ConvertStatus {
    answer(|| {
        let (core, pump) = (emptied(core, "core"), emptied(pump, "pump"));
        let (core, pump) = (core?, pump?);
        let (config, owned) = config(options)?;
        let (made, turned) = Core::builder(config).pumped()?;
        owned.take_over();
        *core = Some(Box::new(ConvertCore(made)));
        *pump = Some(Box::new(ConvertPump(turned)));
        Ok(())
    })
}

/// Works for about `budget` microseconds; if there is work, does at least one step. Callbacks are called in it,
/// on this thread; in one, `CONVERT_STATUS_BUSY`. `report` may be null. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_turn(
    pump: *mut ConvertPump,
    budget: u64,
    report: *mut ConvertPumpReport,
) -> ConvertStatus {
    answer(|| {
        let place = Place::optional(report, "report")?;
        let done = with(pump, |pump| Ok(pump.turn(Duration::from_micros(budget))))?;
        let Some(place) = place else { return Ok(()) };
        let microseconds = |due: Duration| u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
        place.write(ConvertPumpReport {
            size: size_of::<ConvertPumpReport>(),
            handlers_run: done.handlers_run as u64,
            requests_started: done.requests_started as u64,
            requests_ended: done.requests_ended as u64,
            work_left: done.work_left.into(),
            next_due: done.next_due.map_or(u64::MAX, microseconds),
        });
        Ok(())
    })
}

/// The next request to carry, to be freed with `convert_request_free`; `CONVERT_STATUS_NOTHING` if there is
/// none, `CONVERT_STATUS_BUSY` in a callback. Call it after each turn until it returns that. Follow no
/// redirects, and verify the server's certificate. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_next_request(
    pump: *mut ConvertPump,
    request: Given<'_, ConvertRequest>,
) -> ConvertStatus {
    answer(|| {
        give(request, "request", || {
            let next = with(pump, |pump| Ok(pump.next_request()))?;
            Ok(ConvertRequest(next.ok_or(ConvertStatus::Nothing)?))
        })
    })
}

/// Takes the response to a request: the HTTP status, the headers (of which only `etag`, `retry-after` and
/// `date` are used; one that is not UTF-8 is skipped) and the body, decompressed. The next turns handle it.
/// `CONVERT_STATUS_NOTHING` if it was not expected: it is late, a duplicate, or for no request;
/// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_answer(
    pump: *mut ConvertPump,
    request_id: u64,
    http_status: u16,
    headers: *const ConvertHeader,
    header_count: usize,
    body: ConvertText,
) -> ConvertStatus {
    answer(|| {
        let mut response = pump::Answer::response(http_status).body(body.bytes("body")?);
        for header in list_or_empty(headers, header_count, "headers")? {
            let name = str::from_utf8(header.name.bytes("the name of a header")?);
            let value = str::from_utf8(header.value.bytes("the value of a header")?);
            if let (Ok(name), Ok(value)) = (name, value) {
                response = response.header(name, value);
            }
        }
        answered(pump, request_id, response)
    })
}

/// Takes the failure of a request. `was_sent` not 0: the server may have received it, for example after a
/// timeout. 0: nothing reached it, for example without a connection. Otherwise like `convert_pump_answer`.
/// One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_fail(pump: *mut ConvertPump, request_id: u64, was_sent: u32) -> ConvertStatus {
    answer(|| {
        let failure = if was_sent == 0 {
            pump::Answer::not_sent(TransportError::Connect)
        } else {
            pump::Answer::lost(TransportError::Broken(std::io::ErrorKind::Other))
        };
        answered(pump, request_id, failure)
    })
}

fn answered(pump: *const ConvertPump, request_id: u64, outcome: pump::Answer) -> Answer {
    with(pump, |pump| {
        let is_expected = id_from_c(request_id).is_some_and(|id| pump.answer(id, outcome));
        if is_expected { Ok(()) } else { Err(ConvertStatus::Nothing.into()) }
    })
}

/// Ids begin at 0 in Rust and at 1 in C, where 0 is none.
fn id_from_c(id: u64) -> Option<RequestId> {
    id.checked_sub(1).map(RequestId::from_u64)
}

fn ask(
    pump: *const ConvertPump,
    question: Given<'_, ConvertQuestion>,
    asked: impl FnOnce(&Pump) -> Asked,
) -> ConvertStatus {
    answer(|| give(question, "question", || with(pump, |pump| Ok(ConvertQuestion(asked(pump))))))
}

/// Requests the first config, like `convert_core_initialize`. `CONVERT_STATUS_BUSY` in a callback.
/// One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_initialize(
    pump: *const ConvertPump,
    question: Given<'_, ConvertQuestion>,
) -> ConvertStatus {
    ask(pump, question, |pump| Asked::Ready(pump.initialize()))
}

/// Requests a new config, like `convert_core_refresh`. `CONVERT_STATUS_BUSY` in a callback. One thread
/// at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_refresh(
    pump: *const ConvertPump,
    timeout: u64,
    question: Given<'_, ConvertQuestion>,
) -> ConvertStatus {
    ask(pump, question, |pump| Asked::Fresh(pump.refresh_now_within(milliseconds(timeout))))
}

/// Requests a flush, like `convert_core_flush`. `CONVERT_STATUS_BUSY` in a callback. One thread at a
/// time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_flush(
    pump: *const ConvertPump,
    timeout: u64,
    single_attempt: u32,
    question: Given<'_, ConvertQuestion>,
) -> ConvertStatus {
    let options = FlushOptions::within(milliseconds(timeout)).single_attempt(single_attempt != 0);
    ask(pump, question, |pump| Asked::Flushed(Box::new(pump.flush_with(options))))
}

/// Requests a shutdown, like `convert_core_shutdown`; answered by its deadline if turns continue. With a large backlog
/// the answer may come with records still pending: further turns count them as dropped, until the ledger's `pending` is 0.
/// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_shutdown(
    pump: *const ConvertPump,
    timeout: u64,
    question: Given<'_, ConvertQuestion>,
) -> ConvertStatus {
    ask(pump, question, |pump| Asked::Flushed(Box::new(pump.shutdown(milliseconds(timeout)))))
}

/// Requests a close without a flush. Once it is answered, `convert_core_stats` gives the final ledger, unless the
/// turns came so late that the 5 s of a close were over first: then the turns that follow complete it.
/// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_close(
    pump: *const ConvertPump,
    question: Given<'_, ConvertQuestion>,
) -> ConvertStatus {
    ask(pump, question, |pump| Asked::Closed(Box::new(pump.close())))
}

/// The answer to a question: `CONVERT_STATUS_PENDING` until a turn has given it, then, once, the status that
/// the core's call would return. `report`, which may be null, is filled for a flush and a shutdown. Any
/// thread, one at a time, even in a callback.
#[unsafe(no_mangle)]
pub extern "C" fn convert_question_check(
    question: Option<&mut ConvertQuestion>,
    report: *mut ConvertFlushReport,
) -> ConvertStatus {
    answer(|| {
        let (question, report) = (need(question, "question")?, Place::optional(report, "report")?);
        match &mut question.0 {
            Asked::Ready(asked) => Ok(taken(asked)??),
            Asked::Fresh(asked) => Ok(taken(asked)?.map(drop)?),
            Asked::Flushed(asked) => reported(taken(asked)?, report),
            Asked::Closed(asked) => taken(asked).map(drop),
        }
    })
}

fn taken<T>(asked: &mut Question<T>) -> Answer<T> {
    Ok(asked.check().ok_or(ConvertStatus::Pending)?)
}

/// Frees the question; the operation continues. Null is allowed. Any thread, even in a callback.
#[unsafe(no_mangle)]
pub extern "C" fn convert_question_free(question: Option<Box<ConvertQuestion>>) {
    answer(|| {
        drop(question);
        Ok(())
    });
}

/// The id of a request, for `convert_pump_answer` and `convert_pump_fail`; never 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_id(request: Option<&ConvertRequest>) -> u64 {
    request.map_or(0, |request| request.0.id.to_u64().saturating_add(1))
}

/// `GET` or `POST`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_method(request: Option<&ConvertRequest>) -> ConvertText {
    request.map_or(ConvertText::NONE, |request| ConvertText::of(request.0.method))
}

/// The URL, which contains the SDK key. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_url(request: Option<&ConvertRequest>) -> ConvertText {
    request.map_or(ConvertText::NONE, |request| ConvertText::of(&request.0.url))
}

/// The body; empty for a `GET`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_body(request: Option<&ConvertRequest>) -> ConvertText {
    request.map_or(ConvertText::NONE, |request| ConvertText::of_bytes(&request.0.body))
}

/// The time limit for the whole request in milliseconds, starting when it was handed out. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_timeout(request: Option<&ConvertRequest>) -> u64 {
    request.map_or(0, |request| u64::try_from(request.0.timeout.as_millis()).unwrap_or(u64::MAX))
}

/// The number of headers to send. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_header_count(request: Option<&ConvertRequest>) -> usize {
    request.map_or(0, |request| request.0.headers.len())
}

/// The header at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_header_at(
    request: Option<&ConvertRequest>,
    index: usize,
    header: Out<'_, ConvertHeader>,
) -> ConvertStatus {
    answer(|| {
        let (name, value) = need(request, "request")?.0.headers.get(index).ok_or(ConvertStatus::Nothing)?;
        need(header, "header")?
            .write(ConvertHeader { name: ConvertText::of(name), value: ConvertText::of(value) });
        Ok(())
    })
}

/// Frees the request, answered or not; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_request_free(request: Option<Box<ConvertRequest>>) {
    drop(request);
}

/// Frees the pump, which closes the core and delivers nothing: request a shutdown first. In a callback
/// the pump is freed when its turn ends; do not use it any more. Null is allowed. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_pump_free(pump: *mut ConvertPump) {
    answer(|| {
        if !pump.is_null() && !Entered::has(pump, |freed| *freed = true) {
            free(pump);
        }
        Ok(())
    });
}
