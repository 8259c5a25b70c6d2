//! Pumps: a core without threads, driven by turns, whose requests these tests carry.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use convert_sdk::config::ConfigOrigin;
use convert_sdk::delivery::{DeliveryConfig, FlushReport, OverflowPolicy};
use convert_sdk::error::{LoadError, PreviewError, PumpError, RefreshError};
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{
    DeliveryFailure, EventBatch, EventSink, Outbox, OutboxError, OutboxFile, Receipt, TransportError,
};
use convert_sdk::pump::{Answer, HostClock, Pump, PumpReport, Question, Request};
use convert_sdk::{
    ContextError, ConversionOptions, ConversionStatus, Core, FlushError, InitializeError, SdkConfig,
    Undecided, attributes,
};
use serde_json::Value;

const CONFIG: &str = include_str!("small.json");
const BUDGET: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that moves when told to, and by a nanosecond with each look.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), SeqCst);
    }
}

impl HostClock for Hand {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.fetch_add(1, SeqCst))
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

fn keyed() -> (Core, Pump, Hand) {
    let clock = Hand::default();
    let config = SdkConfig::game_loop("10035569/10034190").build().unwrap();
    let (core, pump) = Core::builder(config).pumped_by(clock.clone()).unwrap();
    (core, pump, clock)
}

/// One with the config in place.
fn ready() -> (Core, Pump, Hand) {
    let (core, mut pump, clock) = keyed();
    let asked = pump.initialize();
    assert_eq!(settle(&mut pump, asked, &mut works), Ok(()));
    (core, pump, clock)
}

fn works(request: &Request) -> Option<Answer> {
    Some(match request.method {
        "GET" => Answer::response(200).header("ETag", "one").body(CONFIG),
        _ => Answer::response(200),
    })
}

/// Gives turns until the question is answered, carrying the requests.
fn settle<T>(
    pump: &mut Pump,
    mut question: Question<T>,
    carry: &mut impl FnMut(&Request) -> Option<Answer>,
) -> T {
    for _ in 0..10_000 {
        pump.turn(BUDGET);
        while let Some(request) = pump.next_request() {
            if let Some(answer) = carry(&request) {
                assert!(pump.answer(request.id, answer));
            }
        }
        if let Some(answer) = question.check() {
            return answer;
        }
    }
    panic!("never answered");
}

/// Runs until there is nothing to do, and returns the requests handed out.
fn requests(pump: &mut Pump) -> Vec<Request> {
    let mut requests = Vec::new();
    while pump.turn(BUDGET).work_left {}
    while let Some(request) = pump.next_request() {
        requests.push(request);
    }
    requests
}

fn events_of(body: &[u8]) -> usize {
    let body: Value = serde_json::from_slice(body).unwrap();
    let visitors = body["visitors"].as_array().unwrap().iter();
    visitors.map(|visitor| visitor["events"].as_array().unwrap().len()).sum()
}

fn record(core: &Core, players: usize) {
    for player in 0..players {
        let context = core.create_context(format!("player-{player}"), ()).unwrap();
        assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
    }
}

#[test]
fn what_is_recorded_is_delivered_in_turns() {
    let (core, mut pump, _) = ready();
    record(&core, 1_234);
    let mut sent = 0;
    let flush = pump.flush(PATIENCE);
    let report = settle(&mut pump, flush, &mut |request| {
        assert_eq!(request.method, "POST");
        assert!(request.url.contains("/track/10035569/10034190"));
        let events = events_of(&request.body);
        assert!(events <= 500, "a request is capped: {events}");
        sent += events;
        works(request)
    });
    assert_eq!((report.unwrap().delivered, sent), (1_234, 1_234));
    assert!(core.stats().is_balanced());
}

#[test]
fn a_flush_of_a_pump_sends_full_requests() {
    let (core, mut pump, _) = ready();
    record(&core, 1_234);
    let (mut sizes, flush) = (Vec::new(), pump.flush(PATIENCE));
    let report = settle(&mut pump, flush, &mut |request| {
        sizes.push(events_of(&request.body));
        works(request)
    });
    assert!(report.is_ok());
    assert_eq!(sizes, [500, 500, 234]);
}

#[test]
fn waiting_calls_of_a_pumped_core_refuse() {
    let (core, mut pump, _) = keyed();
    assert_eq!(core.initialize(), Err(InitializeError::WouldBlock));
    let asked = pump.initialize();
    assert_eq!(settle(&mut pump, asked, &mut works), Ok(()));
    assert_eq!(core.refresh_now_within(PATIENCE), Err(RefreshError::WouldBlock));
    record(&core, 1);
    assert!(matches!(core.flush(PATIENCE), Err(FlushError::WouldBlock(stats)) if stats.pending == 1));
    assert!(matches!(core.shutdown(PATIENCE), Err(FlushError::WouldBlock(stats)) if stats.pending == 1));
    let visitor = core.create_context("v", ()).unwrap();
    let confirmed = visitor.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE);
    assert_eq!(confirmed.status, ConversionStatus::Unconfirmed);
    let shutdown = pump.shutdown(PATIENCE);
    assert_eq!(settle(&mut pump, shutdown, &mut works).unwrap().delivered, 2);
}

struct Nowhere;

impl EventSink for Nowhere {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::Unsupported))
    }
}

impl Outbox for Nowhere {
    fn begin(&self, _: &str) -> Result<Box<dyn OutboxFile>, OutboxError> {
        Err(OutboxError::new("nowhere"))
    }
}

#[test]
fn what_would_block_is_refused_at_build() {
    let config = || SdkConfig::builder().data_json(CONFIG);
    let refused = |config: convert_sdk::SdkConfigBuilder| {
        Core::builder(config.build().unwrap()).pumped().map(|_| ()).unwrap_err()
    };
    let store = convert_sdk::adapters::InMemoryDataStore::new();
    assert_eq!(refused(config().data_store(store)), PumpError::DataStore);
    assert_eq!(refused(config().outbox(Nowhere)), PumpError::Outbox);
    assert_eq!(refused(config().config_cache("config")), PumpError::ConfigCache);
    let waits = DeliveryConfig::builder().overflow(OverflowPolicy::Wait(PATIENCE)).build().unwrap();
    assert_eq!(refused(config().delivery(waits)), PumpError::Waits);
    let own = Core::builder(config().build().unwrap()).event_sink(Nowhere);
    assert_eq!(own.pumped().map(|_| ()).unwrap_err(), PumpError::Transport);
}

#[test]
fn answers_come_in_any_order_late_twice_or_never() {
    let (core, mut pump, clock) = ready();
    record(&core, 1_000);
    // Two full batches.
    let [first, second] = requests(&mut pump).try_into().unwrap();
    let mut asked = pump.flush(100 * PATIENCE);
    pump.turn(BUDGET);
    assert!(pump.answer(second.id, Answer::response(200)));
    assert!(!pump.answer(second.id, Answer::response(500)), "twice");
    pump.turn(BUDGET);
    clock.advance(first.timeout);
    while pump.turn(BUDGET).work_left {}
    assert!(!pump.answer(first.id, Answer::response(200)), "late");
    let stats = core.stats();
    assert_eq!((stats.delivered, stats.pending, stats.fate_unknown), (500, 500, 1));
    clock.advance(PATIENCE);
    let [again] = requests(&mut pump).try_into().unwrap();
    assert!(again.id > second.id && events_of(&again.body) == 500);
    assert!(pump.answer(again.id, Answer::response(204)));
    while pump.turn(BUDGET).work_left {}
    assert_eq!(asked.check().unwrap().unwrap().delivered, 1_000);
}

#[test]
fn a_shutdown_ends_by_its_deadline_when_nothing_answers() {
    let (core, mut pump, clock) = ready();
    record(&core, 700);
    let mut shutdown = pump.shutdown(Duration::from_secs(1));
    let mut frames = 0;
    let ended = loop {
        pump.turn(BUDGET);
        while pump.next_request().is_some() {}
        if let Some(ended) = shutdown.check() {
            break ended;
        }
        clock.advance(Duration::from_millis(16));
        frames += 1;
        assert!(frames < 63, "a second of frames");
    };
    let Err(FlushError::Timeout(report)) = ended else { panic!("nothing answers") };
    assert!(report.stats.is_balanced());
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 700, 0), "{report:?}");
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.dropped.total(), stats.pending), (700, 700, 0), "{stats:?}");
    assert_eq!(core.create_context("late", ()).unwrap_err(), ContextError::Closed);
}

/// A second of frames whose requests `carry` answers.
fn second(pump: &mut Pump, clock: &Hand, carry: &mut impl FnMut(&Request) -> Option<Answer>) {
    for _ in 0..100 {
        while pump.turn(BUDGET).work_left {}
        while let Some(request) = pump.next_request() {
            if let Some(answer) = carry(&request) {
                assert!(pump.answer(request.id, answer));
            }
        }
        clock.advance(Duration::from_millis(10));
    }
}

#[test]
fn a_shutdown_reports_a_loss_that_another_was_told_of_first() {
    let (core, mut pump, clock) = ready();
    record(&core, 1);
    let mut flush = pump.flush(2 * PATIENCE);
    let (mut first, mut last) = (pump.shutdown(PATIENCE / 300), pump.shutdown(PATIENCE / 100));
    second(&mut pump, &clock, &mut |_| None);
    assert!(matches!(flush.check(), Some(Err(_))));
    assert!(matches!(first.check(), Some(Err(error)) if error.report().unwrap().dropped == 1));
    assert!(matches!(last.check(), Some(Err(error)) if error.report().unwrap().dropped == 1));
}

#[test]
fn a_shutdown_whose_question_is_dropped_closes_by_its_deadline() {
    let (core, mut pump, clock) = ready();
    record(&core, 10);
    drop(pump.shutdown(Duration::from_millis(300)));
    second(&mut pump, &clock, &mut |_| None);
    let stats = core.stats();
    assert_eq!((stats.pending, stats.dropped.total()), (0, 10), "{stats:?}");
    assert_eq!(core.create_context("late", ()).unwrap_err(), ContextError::Closed);
}

#[test]
fn a_shutdown_that_nobody_checks_ends_like_any_other() {
    let (core, mut pump, clock) = ready();
    record(&core, 10);
    let mut healthy = pump.shutdown(Duration::from_millis(300));
    second(&mut pump, &clock, &mut works);
    assert_eq!(core.create_context("late", ()).unwrap_err(), ContextError::Closed);
    assert!(matches!(healthy.check(), Some(Ok(report)) if report.delivered == 10));
}

#[test]
fn an_awaited_question_is_answered_and_wakes_its_task() {
    struct Woken(AtomicU64);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let (core, mut pump, clock) = ready();
    record(&core, 10);
    let (mut asked, woken) = (Box::pin(pump.flush(PATIENCE)), Arc::new(Woken(AtomicU64::new(0))));
    let waker = std::task::Waker::from(Arc::clone(&woken));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(asked.as_mut().poll(&mut context).is_pending());
    second(&mut pump, &clock, &mut works);
    assert_eq!(woken.0.load(SeqCst), 1, "once, and with the answer");
    assert!(matches!(asked.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(_))));
    assert!(asked.as_mut().poll(&mut context).is_pending(), "it was taken");
}

#[test]
fn a_dropped_pump_answers_what_was_asked() {
    let (core, mut pump, _) = keyed();
    let (mut ready, mut fresh) = (pump.initialize(), pump.refresh_now_within(PATIENCE));
    pump.turn(BUDGET);
    let (mut close, mut late) = (pump.close(), pump.initialize());
    drop(pump);
    assert_eq!(
        (ready.check(), fresh.check()),
        (Some(Err(InitializeError::Closed)), Some(Err(RefreshError::Closed)))
    );
    assert!(close.check().is_some() && late.check() == Some(Err(InitializeError::Closed)));
    assert!(core.stats().is_balanced());
}

#[test]
fn requests_that_a_close_ends_first_are_not_said_to_be_ready() {
    let (core, mut pump, clock) = ready();
    record(&core, 2_000);
    let mut shutdown = pump.shutdown(Duration::from_millis(1));
    let (mut started, mut taken) = (0, 0);
    while shutdown.check().is_none() {
        started += pump.turn(Duration::ZERO).requests_started;
        taken += std::iter::from_fn(|| pump.next_request()).count();
        clock.advance(Duration::from_micros(10));
    }
    assert_eq!((started, core.stats().delivered), (taken, 0));
}

#[test]
fn flushes_taken_together_count_what_was_delivered_before() {
    let (core, mut pump, _) = ready();
    record(&core, 3_000);
    let (mut first, mut second, mut late) = (pump.flush(PATIENCE), pump.flush(PATIENCE), None);
    let delivered = |question: &mut Question<Result<FlushReport, FlushError>>| {
        question.check().map(|answer| answer.unwrap().delivered)
    };
    for _ in 0..1_000 {
        pump.turn(Duration::ZERO);
        while let Some(request) = pump.next_request() {
            assert!(pump.answer(request.id, Answer::response(200)));
        }
        if core.stats().delivered == 500 {
            late.get_or_insert_with(|| pump.flush(PATIENCE));
        }
    }
    let answers = [&mut first, &mut second, late.as_mut().unwrap()].map(delivered);
    assert_eq!(answers, [Some(3_000), Some(3_000), Some(2_500)]);
}

#[test]
fn what_a_handler_records_is_work_of_the_same_turn() {
    let (core, mut pump, _) = keyed();
    let visitor = core.clone();
    let handler = move |_: &convert_sdk::events::LifecycleEvent| record(&visitor, 1);
    core.on(LifecycleEventKind::Ready, handler).unwrap();
    drop(pump.initialize());
    let [request] = requests(&mut pump).try_into().unwrap();
    assert!(pump.answer(request.id, works(&request).unwrap()));
    let turn = pump.turn(BUDGET);
    assert_eq!((turn.handlers_run, turn.work_left, core.stats().pending), (1, false, 1));
    assert!(turn.next_due.unwrap() <= Duration::from_secs(30), "the next release: {turn:?}");
}

#[test]
fn a_handler_that_closes_the_core_is_the_last_one_called() {
    let (core, mut pump, _) = ready();
    let closing = core.clone();
    let close = move |_: &convert_sdk::events::LifecycleEvent| drop(closing.close());
    core.on(LifecycleEventKind::Conversion, close).unwrap();
    let (calls, alive) = counted(&core, LifecycleEventKind::Conversion);
    record(&core, 1);
    while pump.turn(BUDGET).work_left {}
    assert_eq!((calls.load(SeqCst), core.stats().events_missed, alive.strong_count()), (0, 1, 0));
}

/// Counts its calls, and tells when it was dropped.
fn counted(core: &Core, kind: LifecycleEventKind) -> (Arc<AtomicU64>, std::sync::Weak<()>) {
    let (calls, alive) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
    let (counter, owned, weak) = (Arc::clone(&calls), (core.clone(), alive.clone()), Arc::downgrade(&alive));
    let handler = move |_: &convert_sdk::events::LifecycleEvent| {
        let _ = &owned;
        counter.fetch_add(1, SeqCst);
    };
    core.on(kind, handler).unwrap();
    (calls, weak)
}

#[test]
fn a_close_of_the_core_ends_its_handlers_at_once() {
    let (core, mut pump, _) = ready();
    let (calls, alive) = counted(&core, LifecycleEventKind::Conversion);
    record(&core, 300);
    pump.turn(Duration::from_nanos(100));
    core.close();
    let (before, stats) = (calls.load(SeqCst), core.stats());
    while pump.turn(BUDGET).work_left {}
    assert_eq!(calls.load(SeqCst), before);
    assert!(before > 0 && stats.events_missed > 0 && alive.strong_count() == 0, "{before} {stats:?}");
}

#[test]
fn no_handler_is_called_after_the_deadline_of_a_shutdown() {
    let (core, mut pump, clock) = ready();
    let (calls, alive) = counted(&core, LifecycleEventKind::Conversion);
    record(&core, 700);
    let mut asked = pump.shutdown(Duration::from_millis(100));
    let mut answer = None;
    // Turns of one step, the deadline after the hundredth.
    for frame in 0..3_000 {
        if frame == 100 {
            clock.advance(Duration::from_millis(100));
        }
        if pump.turn(Duration::ZERO).handlers_run > 0 {
            assert!(answer.is_none(), "the core is closed");
        }
        answer = answer.or_else(|| asked.check());
    }
    assert!(matches!(answer, Some(Err(_))));
    let (handled, missed) = (calls.load(SeqCst), core.stats().events_missed);
    assert!(handled < 700 && handled + missed == 700 && alive.strong_count() == 0, "{handled} {missed}");
}

#[test]
fn events_that_a_dropped_pump_leaves_are_counted_as_missed() {
    let (core, mut pump, _) = ready();
    let (calls, alive) = counted(&core, LifecycleEventKind::Conversion);
    record(&core, 300);
    while core.stats().pending_places.in_channel > 0 {
        pump.turn(Duration::ZERO);
    }
    drop(pump);
    assert_eq!(calls.load(SeqCst) + core.stats().events_missed, 300);
    assert!(calls.load(SeqCst) < 300 && alive.strong_count() == 0);
}

#[test]
fn a_shutdown_lets_queued_events_be_handled_and_frees_the_handlers() {
    let (core, mut pump, clock) = ready();
    let (calls, alive) = counted(&core, LifecycleEventKind::Conversion);
    record(&core, 300);
    let mut asked = pump.shutdown(Duration::from_millis(300));
    second(&mut pump, &clock, &mut works);
    assert!(asked.check().is_some_and(|answer| answer.is_ok()));
    assert_eq!((calls.load(SeqCst), core.stats().events_missed, alive.strong_count()), (300, 0, 0));
}

#[test]
fn a_turn_without_a_budget_makes_progress_while_work_is_left() {
    let (core, mut pump, clock) = ready();
    record(&core, 3_000);
    let mut asked = pump.flush(PATIENCE);
    let (mut turns, mut started) = (0, 0);
    let answer = loop {
        let report = pump.turn(Duration::ZERO);
        started += report.requests_started;
        while let Some(request) = pump.next_request() {
            let _ = pump.answer(request.id, Answer::response(200));
        }
        if let Some(answer) = asked.check() {
            break answer;
        }
        clock.advance(Duration::from_millis(1));
        turns += 1;
        assert!(turns < 1_000, "{:?}", core.stats());
    };
    assert_eq!(answer.unwrap().delivered, 3_000);
    assert!((6..=12).contains(&started), "{started} requests of at most 500 events");
    // 3,000 records, handled in slices of 16, written and freed in larger ones, and no turn without a step.
    assert!(turns > 3_000 / 16, "{turns} turns do a step each");
}

#[test]
fn handlers_run_in_turns_and_on_their_thread() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (told, here) = (Arc::clone(&heard), std::thread::current().id());
    let config = SdkConfig::builder().data_json(CONFIG).build().unwrap();
    let handler = move |event: &convert_sdk::events::LifecycleEvent| {
        told.lock().unwrap().push((event.kind(), std::thread::current().id() == here));
    };
    let builder = Core::builder(config).on(LifecycleEventKind::Ready, handler);
    let (_core, mut pump) = builder.pumped().unwrap();
    assert_eq!(pump.initialize().check(), Some(Ok(())));
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(pump.turn(BUDGET).handlers_run, 1);
    assert_eq!(*heard.lock().unwrap(), [(LifecycleEventKind::Ready, true)]);
}

#[test]
fn an_unknown_experience_is_previewed_after_its_request() {
    let (core, mut pump, _) = ready();
    let mut visitor = core.create_context("v", ()).unwrap();
    assert_eq!(visitor.set_preview("77", "78"), Err(PreviewError::WouldBlock));
    let [request] = requests(&mut pump).try_into().unwrap();
    assert!(request.url.contains("exp=77"), "a preview asks for one experience");
    let config = r#"{"account_id":"1","project":{"id":"2"},"experiences":[{"id":"77","key":"new",
        "variations":[{"id":"78","key":"blue"}]}]}"#;
    assert!(pump.answer(request.id, Answer::response(200).body(config)));
    while pump.turn(BUDGET).work_left {}
    assert_eq!(visitor.set_preview("77", "78"), Ok(()));
    assert!(requests(&mut pump).is_empty());
}

#[test]
fn a_failed_preview_is_reported_and_asked_for_again_later() {
    let (core, mut pump, clock) = ready();
    let mut visitor = core.create_context("v", ()).unwrap();
    let (mut asked, mut refused) = (0, 0);
    // Ten seconds of frames, each of which tries.
    for _ in 0..600 {
        match visitor.set_preview("77", "78") {
            Err(PreviewError::WouldBlock) => {}
            Err(PreviewError::Fetch(LoadError::Fetch(TransportError::Status(404)))) => refused += 1,
            other => panic!("{other:?}"),
        }
        for request in requests(&mut pump) {
            asked += 1;
            assert!(pump.answer(request.id, Answer::response(404)));
        }
        clock.advance(Duration::from_micros(16_667));
    }
    assert_eq!(asked, 2);
    assert!(refused > 590, "{refused}");
}

#[test]
fn an_etag_that_would_break_a_header_is_not_sent_back() {
    let long = "x".repeat(2_000);
    for etag in ["\"1\"\r\nx-injected: 1", "\"\u{7f}\"", "a\tb", long.as_str()] {
        let (core, mut pump, clock) = keyed();
        let asked = pump.initialize();
        let mut carry = |_: &Request| Some(Answer::response(200).header("etag", etag).body(CONFIG));
        assert_eq!(settle(&mut pump, asked, &mut carry), Ok(()));
        clock.advance(10 * PATIENCE);
        let [request] = requests(&mut pump).try_into().unwrap();
        assert!(request.headers.iter().all(|(name, _)| name != "if-none-match"), "{etag:?}");
        assert!(core.is_ready());
    }
}

#[test]
fn a_late_answer_counts_until_a_turn_finds_it_missing() {
    let (core, mut pump, clock) = ready();
    record(&core, 1_000);
    let [first, second] = requests(&mut pump).try_into().unwrap();
    clock.advance(first.timeout);
    assert!(pump.answer(first.id, Answer::response(200)), "no turn has missed it");
    while pump.turn(BUDGET).work_left {}
    assert!(!pump.answer(second.id, Answer::response(200)));
    assert_eq!((core.stats().delivered, core.stats().fate_unknown), (500, 1));
}

#[test]
fn a_config_is_refreshed_when_it_is_due_and_kept_when_it_fails() {
    let (core, mut pump, clock) = ready();
    let due = pump.turn(BUDGET).next_due.unwrap();
    assert!(due > Duration::from_secs(299) && due <= Duration::from_secs(330), "{due:?}");
    clock.advance(due);
    let [request] = requests(&mut pump).try_into().unwrap();
    assert!(request.headers.contains(&("if-none-match".into(), "one".into())));
    assert!(pump.answer(request.id, Answer::not_sent(TransportError::Connect)));
    while pump.turn(BUDGET).work_left {}
    assert!(core.is_ready());
    let asked = pump.refresh_now_within(PATIENCE);
    let unchanged = settle(&mut pump, asked, &mut |_| Some(Answer::response(304)));
    assert_eq!(unchanged, Ok(convert_sdk::config::RefreshOutcome::NotModified));
}

#[test]
fn data_beside_a_key_starts_at_once_and_is_followed_in_turns() {
    let config = SdkConfig::game_loop("10035569/10034190").data_json(CONFIG).build().unwrap();
    let (core, mut pump) = Core::builder(config).pumped_by(Hand::default()).unwrap();
    assert_eq!(pump.initialize().check(), Some(Ok(())));
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Direct));
    let [request] = requests(&mut pump).try_into().unwrap();
    assert!(pump.answer(request.id, works(&request).unwrap()));
    while pump.turn(BUDGET).work_left {}
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Fetched));
}

#[test]
fn a_config_that_nobody_confirms_is_withdrawn_in_a_turn() {
    let hour = Duration::from_secs(3_600);
    let config = SdkConfig::game_loop("10035569/10034190").max_stale(hour).decide_when_stale(false);
    let clock = Hand::default();
    let (core, mut pump) = Core::builder(config.build().unwrap()).pumped_by(clock.clone()).unwrap();
    let asked = pump.initialize();
    assert_eq!(settle(&mut pump, asked, &mut works), Ok(()));
    let player = || core.create_context("v", attributes! { "plan" => "pro" }).unwrap();
    let decide = || player().run_experience("checkout").map(drop);
    assert_eq!(decide(), Ok(()));
    clock.advance(hour);
    for request in requests(&mut pump) {
        assert!(pump.answer(request.id, Answer::not_sent(TransportError::Connect)));
    }
    while pump.turn(BUDGET).work_left {}
    assert_eq!(decide(), Err(Undecided::Withdrawn));
}

#[test]
fn an_offline_pumped_core_hands_out_no_request() {
    let config = SdkConfig::builder().data_json(CONFIG).offline().build().unwrap();
    let (core, mut pump) = Core::builder(config).pumped_by(Hand::default()).unwrap();
    assert_eq!(pump.initialize().check(), Some(Ok(())));
    record(&core, 3);
    assert!(requests(&mut pump).is_empty());
    assert_eq!((core.stats().withheld, core.stats().pending), (3, 0));
}

#[test]
fn a_dropped_pump_closes_the_core_and_counts_what_is_left() {
    let (core, mut pump, _) = ready();
    record(&core, 600);
    let _unanswered = pump.flush(PATIENCE);
    assert!(!requests(&mut pump).is_empty());
    record_more(&core);
    drop(pump);
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.pending, stats.dropped.total()), (601, 0, 601), "{stats:?}");
    assert!(stats.is_balanced() && core.create_context("late", ()).is_err());
}

fn record_more(core: &Core) {
    let context = core.create_context("one-more", ()).unwrap();
    assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, ways: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % ways
    }
}

/// Random turns with random budgets against a server that answers late, out of order, with errors or not at all.
/// `SIMULATION_SEEDS` sets the number of runs.
#[test]
fn the_ledger_balances_in_random_turns_and_nothing_is_lost() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 0..seeds {
        let mut random = Random(seed);
        let (core, mut pump, clock) = ready();
        let (mut out, mut players, mut taken) = (Vec::new(), 0, 0);
        for _ in 0..300 {
            for _ in 0..random.below(40) {
                let context = core.create_context(format!("player-{players}"), ()).unwrap();
                assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
                players += 1;
            }
            clock.advance(Duration::from_millis(random.below(3_000)));
            // A look at the clock takes a nanosecond, so that this is a number of steps.
            pump.turn(Duration::from_nanos(random.below(20)));
            out.extend(pump.next_request());
            while !out.is_empty() && random.below(3) == 0 {
                let request = out.swap_remove(usize::try_from(random.below(out.len() as u64)).unwrap());
                let events = if request.method == "POST" { events_of(&request.body) } else { 0 };
                let (answer, takes) = match random.below(6) {
                    0 => (Answer::response(503).header("Retry-After", "7"), false),
                    1 => (Answer::not_sent(TransportError::Connect), false),
                    2 => (Answer::lost(TransportError::Protocol), true),
                    3 => continue,
                    _ if request.method == "GET" => (Answer::response(304), false),
                    _ => (Answer::response(200), true),
                };
                taken += if takes { events } else { 0 };
                pump.answer(request.id, answer);
            }
            let stats = core.stats();
            assert!(stats.is_balanced(), "seed {seed}: {stats:?}");
            assert!(stats.delivered <= taken as u64, "seed {seed}: {stats:?}, {taken} taken");
        }
        let mut flush = pump.flush(100 * PATIENCE);
        let report = loop {
            // What was handed out before and never answered fails by its deadline.
            clock.advance(Duration::from_secs(1));
            pump.turn(BUDGET);
            while let Some(request) = pump.next_request() {
                pump.answer(request.id, works(&request).unwrap());
            }
            if let Some(report) = flush.check() {
                break report;
            }
        };
        let stats = core.stats();
        assert!(report.is_ok_and(|report| report.pending == 0), "seed {seed}: {stats:?}");
        assert_eq!((stats.recorded, stats.delivered), (players, players), "seed {seed}: {stats:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_pumped_core_never_has_a_thread() {
    crate::child::run("pump::alone", "threads");
}

/// Names of the threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name =
        |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("comm"));
    tasks.map(|task| name(task).unwrap_or_default()).collect()
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn alone() {
    let (core, mut pump, _) = ready();
    record(&core, 1_000);
    let none = || threads().iter().all(|name| !name.starts_with("convert-"));
    let shutdown = pump.shutdown(PATIENCE);
    let ended = settle(&mut pump, shutdown, &mut |request| {
        assert!(none(), "{:?}", threads());
        works(request)
    });
    assert!(ended.is_ok() && none(), "{:?}", threads());
    drop(pump);
    assert!(none(), "{:?}", threads());
}

#[cfg(unix)]
#[test]
fn a_forked_child_has_its_own_queue_and_requests() {
    crate::child::run("pump::forks", "fork");
}

#[cfg(unix)]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn forks() {
    let (core, mut pump, _) = ready();
    record(&core, 500);
    let [request] = requests(&mut pump).try_into().unwrap();
    record_more(&core);
    let mut asked = pump.flush(PATIENCE);
    let child = crate::process::forked::forked(|| {
        assert!(core.is_ready() && core.stats().recorded == 0);
        assert!(!pump.answer(request.id, Answer::response(200)), "it is the parent's");
        record(&core, 2);
        let flush = pump.flush(PATIENCE);
        let mut delivered = Vec::new();
        let report = settle(&mut pump, flush, &mut |own| {
            assert!(own.id > request.id);
            delivered.push(events_of(&own.body));
            works(own)
        });
        assert_eq!((report.unwrap().delivered, delivered), (2, vec![2]));
        assert!(core.stats().is_balanced());
    });
    child.join();
    assert!(pump.answer(request.id, Answer::response(200)));
    let report = loop {
        pump.turn(BUDGET);
        while let Some(request) = pump.next_request() {
            pump.answer(request.id, works(&request).unwrap());
        }
        if let Some(report) = asked.check() {
            break report.unwrap();
        }
    };
    assert_eq!((report.pending, core.stats().delivered), (0, 501));
}

#[cfg(unix)]
#[test]
fn a_child_that_gave_no_turn_closes_by_dropping_the_pump() {
    crate::child::run("pump::unturned", "fork");
}

#[cfg(unix)]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn unturned() {
    let (core, pump, _) = ready();
    let mut asked = pump.initialize();
    let mut slot = Some(pump);
    let child = crate::process::forked::forked(|| {
        record(&core, 2);
        drop(slot.take());
        let stats = core.stats();
        assert_eq!((stats.pending, stats.dropped.total()), (0, 2), "{stats:?}");
        assert_eq!(core.create_context("late", ()).unwrap_err(), ContextError::Closed);
        assert_eq!(asked.check(), None, "it is the parent's");
    });
    child.join();
    assert_eq!(asked.check(), Some(Ok(())));
    record(&core, 1);
}

#[test]
fn an_idle_turn_allocates_nothing() {
    let (core, mut pump, _) = ready();
    record(&core, 10);
    let flush = pump.flush(PATIENCE);
    assert!(settle(&mut pump, flush, &mut works).is_ok());
    pump.turn(BUDGET);
    let idle = allocation_counter::measure(|| {
        assert!(!pump.turn(BUDGET).work_left);
        assert!(pump.next_request().is_none());
    });
    assert_eq!(idle.count_total, 0, "{idle:?}");
}

/// A look at the clock takes a nanosecond here, so that a budget is a number of steps.
#[test]
fn a_batch_is_not_begun_late_in_a_turn() {
    let (core, mut pump, clock) = ready();
    for player in 0..600 {
        let context = core.create_context(format!("player-{player}"), ()).unwrap();
        assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
    }
    let budget = Duration::from_nanos(90);
    let start = clock.now();
    let report = pump.turn(budget);
    let took = clock.now() - start;
    assert!(took > budget / 2 && took < budget && report.work_left, "{took:?}, {report:?}");
    assert!(pump.turn(Duration::ZERO).work_left && core.stats().pending_places.in_flight == 500);
}

/// A turn without a budget is one step.
#[test]
fn no_step_is_large_however_much_there_is_to_do() {
    const MOST: u64 = 16 * 32;
    const MOST_BYTES: u64 = 256 << 10;
    let (core, mut pump, clock) = ready();
    let (mut left, mut steps, mut idle) = (0, 0, 0);
    for frame in 0..60 {
        for player in 0..1_000 {
            let context = core.create_context(format!("player-{frame}-{player}-with-a-long-id"), ()).unwrap();
            assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
        }
        loop {
            let before = core.stats();
            let mut report = PumpReport::default();
            let step = allocation_counter::measure(|| report = pump.turn(Duration::ZERO));
            let freed = u64::try_from(step.count_total.cast_signed() - step.count_current).unwrap();
            assert!(step.count_total <= MOST && freed <= MOST, "{step:?}");
            assert!(step.bytes_total <= MOST_BYTES, "{step:?}");
            steps += 1;
            idle = if report.work_left && core.stats() == before { idle + 1 } else { 0 };
            assert!(idle < 64, "it does nothing while work is left");
            while let Some(request) = pump.next_request() {
                assert!(pump.answer(request.id, works(&request).unwrap()));
                left += 1;
            }
            if !report.work_left {
                break;
            }
        }
        clock.advance(Duration::from_millis(16));
    }
    assert!(core.stats().delivered > 59_000 && left > 100 && steps > 5_000, "{steps} steps");
}

/// The events of each request for a conversion a second in ten minutes, with a turn in each of so many seconds.
fn requests_with_a_turn_in(seconds: u64) -> Vec<usize> {
    let (core, mut pump, clock) = ready();
    let mut sizes = Vec::new();
    for second in 1..=600 {
        let context = core.create_context(format!("player-{second}"), ()).unwrap();
        assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Queued);
        clock.advance(Duration::from_secs(1));
        if second % seconds > 0 {
            continue;
        }
        for request in requests(&mut pump) {
            let is_config = request.method == "GET";
            sizes.extend((!is_config).then(|| events_of(&request.body)));
            assert!(pump.answer(request.id, Answer::response(if is_config { 304 } else { 200 })));
        }
    }
    sizes
}

#[test]
fn late_turns_make_larger_batches_up_to_the_cap() {
    let in_time = requests_with_a_turn_in(1);
    assert!(in_time.len() >= 19 && in_time.iter().all(|events| *events <= 31), "{in_time:?}");
    let late = requests_with_a_turn_in(100);
    assert!(late.len() >= 5 && late.iter().all(|events| *events >= 100), "{late:?}");
    assert_eq!(requests_with_a_turn_in(600), [500], "the others wait for their interval");
}

#[test]
fn the_game_of_the_issue_sends_a_request_in_tens_of_seconds() {
    const PLAYERS: usize = 65;
    let (core, mut pump, clock) = ready();
    let (seconds, mut sent) = (60, 0);
    for frame in 0..seconds * 60 {
        // Each of them decides twice and converts in every frame; every second another one joins.
        for player in frame / 60..frame / 60 + PLAYERS {
            let player =
                core.create_context(format!("player-{player}"), attributes! { "plan" => "pro" }).unwrap();
            assert!(player.run_experience("checkout").is_ok() && player.run_experience("checkout").is_ok());
            let _ = player.track_conversion("purchase");
        }
        clock.advance(Duration::from_micros(16_667));
        pump.turn(BUDGET);
        while let Some(request) = pump.next_request() {
            sent += 1;
            let answer = if request.method == "GET" { Answer::response(304) } else { Answer::response(200) };
            assert!(pump.answer(request.id, answer));
        }
    }
    let stats = core.stats();
    assert!(stats.delivered > 100 && stats.dropped.total() == 0, "{stats:?}");
    assert!(sent * 10 < seconds, "{sent} requests in {seconds} s");

    // The game stops: the last records leave within a second of frames.
    let mut end = pump.shutdown(Duration::from_secs(1));
    let closed = (0..60).find_map(|_| {
        clock.advance(Duration::from_micros(16_667));
        pump.turn(BUDGET);
        for request in requests(&mut pump) {
            assert!(pump.answer(request.id, Answer::response(200)));
        }
        end.check()
    });
    let stats = closed.unwrap().unwrap().stats;
    assert_eq!((stats.pending, stats.dropped.total()), (0, 0), "{stats:?}");
    assert_eq!(stats.delivered + stats.deduplicated, stats.recorded);
}
