//! Close and shutdown: once, twice, concurrently, late, from a handler, and with work in progress.

#[cfg(unix)]
use std::io::Read;
#[cfg(unix)]
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use convert_emulator::{Fault, FaultKind};
use convert_sdk::config::TransportConfig;
use convert_sdk::error::RefreshError;
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{
    ContextError, ConversionOptions, ConversionStatus, Core, FlushError, InitializeError, SdkConfig,
    SdkConfigBuilder, attributes,
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
#[cfg(unix)]
use nix::sys::socket::{Backlog, listen};

use crate::support::{
    KEY, PATIENCE, Script, convert, direct, direct_to, keyed, pro, serve, start, start_scripted, until,
    visitor,
};

#[test]
fn every_call_after_close_returns_its_error() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let before = core.create_context("v", attributes! { "plan" => "pro" }).unwrap();
    let stats = core.close();
    assert!(stats.is_balanced());
    assert_eq!(core.create_context("w", ()).unwrap_err(), ContextError::Closed);
    assert_eq!(core.initialize(), Err(InitializeError::Closed));
    assert_eq!(core.refresh_now_within(PATIENCE), Err(RefreshError::Closed));
    assert!(matches!(core.flush(PATIENCE), Err(FlushError::Closed(_))));
    assert!(matches!(core.shutdown(PATIENCE), Err(FlushError::Closed(_))));
    assert_eq!(core.subscribe().next(), None);
    core.on(LifecycleEventKind::Ready, |_| panic!("never called")).unwrap();
    core.refresh_now();
    assert_eq!(before.run_experience("price").unwrap().variation_key(), "low", "decisions continue");
    assert_eq!(before.track_conversion("purchase").status, ConversionStatus::Closed);
    let confirmed = before.track_conversion_confirmed("purchase", &Default::default(), PATIENCE);
    assert_eq!(confirmed.status, ConversionStatus::Closed);
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.dropped.closed.total()), (3, 3));
    assert_eq!(emulator.received().totals.config_requests, 1);
}

#[test]
fn close_without_flush_drops_and_counts() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..7);
    let stats = core.close();
    assert_eq!((stats.dropped.closed.total(), stats.pending, stats.delivered), (7, 0, 0));
    assert!(stats.is_balanced());
    assert!(script.posts.is_empty());
    assert_eq!(core.close(), stats, "a second close returns the same ledger");
}

#[test]
fn close_finishes_the_current_delivery_and_drops_the_rest() {
    let (core, script) = start_scripted(direct().batch_size(2));
    convert(&core, 0..2);
    script.posted();
    convert(&core, 2..3);
    until(&core, |stats| stats.recorded == 3);
    let closer = core.clone();
    let close = std::thread::spawn(move || closer.close());
    script.answer(200);
    let stats = close.join().unwrap();
    assert_eq!((stats.delivered, stats.dropped.closed.total(), stats.pending), (2, 1, 0));
    assert!(script.posts.is_empty());
}

#[test]
fn shutdown_delivers_everything_and_closes() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    convert(&core, 0..25);
    let report = core.shutdown(PATIENCE).unwrap();
    assert_eq!((report.pending, report.dropped), (0, 0));
    assert_eq!((report.stats.delivered, report.stats.pending), (25, 0));
    assert_eq!(emulator.received().totals.events, 25);
    assert_eq!(core.create_context("v", ()).unwrap_err(), ContextError::Closed);
}

#[test]
fn shutdown_ends_at_its_deadline_with_a_hanging_server() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang));
    let core = start(direct_to(&emulator));
    convert(&core, 0..3);
    let Err(FlushError::Timeout(report)) = core.shutdown(Duration::from_millis(400)) else {
        panic!("the server hangs")
    };
    assert!(report.stats.is_balanced());
    assert_eq!((report.pending + report.dropped, report.delivered), (3, 0));
    // At the latest now, should the threads have been slow.
    until(&core, |stats| (stats.dropped.closed.total(), stats.pending) == (3, 0));
}

/// A shutdown returns while the server still has the connection, wherever it hangs. Returning at all is what is tested,
/// as nothing here ever ends a hang.
#[cfg(unix)]
#[test]
fn shutdown_ends_at_its_deadline_while_connecting() {
    let shut = |config: SdkConfigBuilder| {
        let core = start(config);
        convert(&core, 0..3);
        match core.shutdown(Duration::from_secs(4)) {
            Err(FlushError::Timeout(report)) => assert!(report.stats.is_balanced()),
            other => panic!("the server hangs: {other:?}"),
        }
        core
    };
    let to = |listener: &TcpListener| {
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let never = Duration::from_secs(3_600);
        let network = TransportConfig::builder().track_base_url(url);
        direct().transport(network.connect_timeout(never).total_timeout(never).build().unwrap())
    };

    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&full, Backlog::new(0).unwrap()).unwrap();
    let address = full.local_addr().unwrap();
    // Until the system stops accepting connections.
    let taken: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
            .collect();
    let core = shut(to(&full));
    until(&core, |stats| (stats.dropped.closed.total(), stats.pending) == (3, 0));
    assert_eq!(core.stats().fate_unknown, 0, "nothing was sent");
    drop(taken);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let core = shut(to(&silent));
    until(&core, |stats| (stats.dropped.closed.total(), stats.pending) == (3, 0));
    let hello = silent.accept().unwrap().0.read(&mut [0; 64]).unwrap();
    assert!(hello > 0, "it was in the handshake");
}

#[test]
fn shutdown_after_a_failure_reports_what_was_dropped() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..3);
    (0..1_000).for_each(|_| script.answer(500));
    // All of it passes.
    let error = core.shutdown(Duration::from_secs(3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "timed out; records lost: 3, still undelivered: 0; \
         the last failed delivery: the server answered with status 500"
    );
    let FlushError::Timeout(report) = error else { panic!("it fails") };
    assert_eq!((report.pending, report.dropped, report.delivered), (0, 3, 0));
    assert_eq!(report.stats.dropped.closed.total(), 3);
    assert!(script.posts.len() > 1, "it tried until its deadline");
}

/// A transport whose delivery is accepted once it is interrupted.
struct Late {
    interrupt: Sender<()>,
    interrupted: Receiver<()>,
}

impl EventSink for Late {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let _ = self.interrupted.recv();
        Ok(Receipt::default())
    }

    fn interrupt(&self) {
        let _ = self.interrupt.send(());
    }
}

#[test]
fn a_shutdown_whose_last_delivery_ends_in_time_is_complete() {
    let (interrupt, interrupted) = unbounded();
    let core = Core::builder(direct().build().unwrap()).event_sink(Late { interrupt, interrupted });
    let core = core.build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..1);
    let report = core.shutdown(Duration::from_secs(4)).unwrap();
    assert_eq!((report.delivered, report.stats.delivered, report.stats.pending), (1, 1, 0));
}

#[test]
fn a_shutdown_reports_records_made_during_its_flush() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..1);
    let ending = core.clone();
    let shutdown = std::thread::spawn(move || ending.shutdown(PATIENCE));
    script.posted();
    convert(&core, 1..3);
    script.answer(200);
    match shutdown.join().unwrap() {
        Err(FlushError::Incomplete(report)) => {
            assert_eq!((report.delivered, report.dropped, report.pending), (1, 2, 0));
            assert_eq!(report.stats.dropped.closed.total(), 2);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shutdown_delivers_when_the_endpoint_recovers() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..3);
    [503, 503, 503, 200].into_iter().for_each(|status| script.answer(status));
    let report = core.shutdown(PATIENCE).unwrap();
    assert_eq!((report.delivered, report.stats.dropped.total(), report.stats.requests), (3, 0, 4));
}

#[test]
fn a_flush_ended_by_a_close_reports_its_records_as_dropped() {
    let (core, script) = start_scripted(direct().batch_size(2));
    convert(&core, 0..2);
    script.posted();
    let flusher = core.clone();
    let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
    let closer = core.clone();
    let close = std::thread::spawn(move || closer.close());
    // Whichever comes first, the failed records are not kept; a flush that comes first retries once.
    script.fail(TransportError::Connect);
    script.fail(TransportError::Connect);
    match flush.join().unwrap() {
        Err(FlushError::Incomplete(report)) => {
            assert!(report.stats.is_balanced());
            assert_eq!(report.pending, report.stats.pending, "{report:?}");
        }
        Err(FlushError::Closed(_)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(close.join().unwrap().pending, 0);
}

#[test]
fn close_and_shutdown_from_many_threads_agree() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    convert(&core, 0..50);
    let ledgers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (core, ledgers) = (&core, &ledgers);
            scope.spawn(move || {
                let stats = if thread % 2 == 0 {
                    core.close()
                } else {
                    core.shutdown(PATIENCE).map_or_else(|error| error.stats().clone(), |it| it.stats)
                };
                ledgers.lock().unwrap().push(stats);
            });
        }
    });
    let last = core.stats();
    assert_eq!(last.pending, 0);
    for stats in ledgers.into_inner().unwrap() {
        assert_eq!((stats.delivered, stats.dropped, stats.pending), (last.delivered, last.dropped, 0));
    }
}

/// What races with the end of the tracker is answered by that end, without waiting for its deadline.
#[test]
fn every_caller_waiting_during_a_close_is_answered() {
    for _ in 0..50 {
        let (core, script) = start_scripted(direct());
        (0..100).for_each(|_| script.answer(200));
        convert(&core, 0..1);
        let context = visitor(&core, "v");
        let (running, run) = bounded(5);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (core, running) = (&core, running.clone());
                scope.spawn(move || {
                    running.send(()).unwrap();
                    loop {
                        match core.flush(PATIENCE) {
                            Err(FlushError::Closed(_)) => break,
                            Err(FlushError::Timeout(report)) => panic!("never answered: {report:?}"),
                            // Before the close, or ended by it.
                            _ => {}
                        }
                    }
                });
            }
            scope.spawn(|| {
                running.send(()).unwrap();
                let plain = ConversionOptions::new();
                let confirm = || context.track_conversion_confirmed("purchase", &plain, PATIENCE);
                while confirm().status != ConversionStatus::Closed {}
            });
            (0..4).for_each(|_| run.recv_timeout(PATIENCE).unwrap());
            assert!(core.close().is_balanced());
        });
        assert_eq!(core.close().pending, 0);
    }
}

#[test]
fn a_handler_can_close_the_core() {
    for shutdown in [false, true] {
        let emulator = serve();
        let (closed, wait) = bounded(1);
        let core = start(keyed(&emulator));
        let own = Mutex::new(Some(core.clone()));
        core.on(LifecycleEventKind::Conversion, move |_| {
            let Some(core) = own.lock().unwrap().take() else { return };
            let stats = if shutdown {
                core.shutdown(PATIENCE).map_or_else(|error| error.stats().clone(), |it| it.stats)
            } else {
                core.close()
            };
            closed.send(stats).unwrap();
        })
        .unwrap();
        convert(&core, 0..1);
        let stats = wait.recv_timeout(PATIENCE).unwrap();
        assert_eq!((stats.pending, stats.recorded), (0, 1));
        assert_eq!(core.close().pending, 0);
    }
}

#[test]
fn a_close_ends_a_fetch_and_every_wait_for_it() {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    let waiting = core.clone();
    let initialize = std::thread::spawn(move || waiting.initialize_within(PATIENCE));
    script.fetched();
    core.close();
    assert_eq!(initialize.join().unwrap(), Err(InitializeError::Closed));
    assert!(!core.is_ready());
}

#[test]
fn a_close_interrupts_a_hanging_delivery() {
    let (core, script) = start_scripted(direct().batch_size(3));
    convert(&core, 0..3);
    assert_eq!(script.posted().visitors().len(), 3);
    assert!(core.shutdown(Duration::from_millis(400)).is_err());
    // At once, or when the thread is scheduled; a call that continues would keep them pending for ever.
    until(&core, |stats| (stats.dropped.closed.total(), stats.pending) == (3, 0));
}

#[test]
fn a_close_does_not_start_queued_fetches() {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    core.refresh_now();
    script.fetched();
    for _ in 0..10 {
        core.refresh_now();
    }
    core.close();
    assert!(script.fetches.is_empty(), "{} fetches began after close", script.fetches.len());
}

#[test]
fn dropping_without_close_is_harmless() {
    let emulator = serve();
    let core = start(keyed(&emulator).auto_flush_interval(Duration::from_millis(1)));
    let events = core.subscribe();
    let context = pro(&core, "v");
    drop(core);
    assert!(context.run_experience("price").is_ok(), "a context keeps the SDK alive");
    assert!(context.track_conversion("purchase").tracked());
    emulator.wait_for_events(2, PATIENCE).unwrap();
    drop(context);
    // The subscription ends when the threads have.
    assert!(events.count() > 0);
}

#[test]
fn dropping_interrupts_a_delivery_in_flight() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let events = core.subscribe();
    convert(&core, 0..1);
    script.posted();
    drop(core);
    assert!(events.count() > 0, "the subscription ends with the threads");
}

/// A transport whose interrupt panics, or blocks until the test has seen that nobody waits for it.
struct Stubborn {
    interrupts: Sender<()>,
    go_on: Receiver<()>,
    panics: bool,
}

impl EventSink for Stubborn {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Ok(Receipt::default())
    }

    fn interrupt(&self) {
        let _ = self.interrupts.send(());
        assert!(!self.panics, "planted");
        let _ = self.go_on.recv();
    }
}

#[test]
fn a_panicking_or_blocking_interrupt_affects_nobody() {
    for panics in [true, false] {
        let (interrupts, interrupted) = unbounded();
        let (hold, go_on) = bounded::<()>(0);
        let busy = || {
            let transport = Stubborn { interrupts: interrupts.clone(), go_on: go_on.clone(), panics };
            let core = Core::builder(direct().build().unwrap()).event_sink(transport).build().unwrap();
            core.initialize().unwrap();
            convert(&core, 0..1);
            core
        };
        let ends: [fn(Core); 4] = [
            drop,
            |core| drop(core.close()),
            |core| {
                assert!(
                    core.shutdown(PATIENCE).is_ok(),
                    "everything is delivered, whatever the interrupt does"
                )
            },
            |core| (0..3).for_each(|_| drop(core.close())),
        ];
        for end in ends {
            let (core, (ended, end_seen)) = (busy(), bounded(1));
            std::thread::spawn(move || {
                end(core);
                let _ = ended.send(());
            });
            interrupted.recv_timeout(PATIENCE).expect("the transport should be told");
            assert_eq!(end_seen.recv_timeout(PATIENCE), Ok(()), "panics: {panics}");
            assert!(interrupted.try_recv().is_err(), "it is interrupted only once");
        }
        let core = busy();
        core.close();
        interrupted.recv_timeout(PATIENCE).expect("the transport should be told");
        if panics {
            until(&core, |stats| stats.panics == 1);
        }
        drop(hold);
    }
}

#[test]
fn an_unused_core_closes_at_once() {
    let core = Core::new(SdkConfig::builder().sdk_key("k").build().unwrap());
    assert_eq!(core.close(), convert_sdk::Stats::default());
    let core = start(direct());
    visitor(&core, "").run_experiences();
    assert_eq!(core.shutdown(Duration::ZERO).unwrap().delivered, 0);
}
