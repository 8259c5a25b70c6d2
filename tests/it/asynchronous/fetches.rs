//! One fetch serves every waiting caller, and no fetch starts that nobody waits for.

use std::sync::Mutex;

use convert_sdk::config::RefreshOutcome;
use convert_sdk::error::PreviewError;
use convert_sdk::ports::{BoxFuture, ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use convert_sdk::{AsyncCore, Core, InitializeError, SdkConfig};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{block_on, keyed_script, poll_once};
use crate::support::{KEY, PATIENCE, shop};

#[test]
fn concurrent_calls_share_one_fetch() {
    let (core, script) = keyed_script();
    let mut initialized: Vec<BoxFuture<'_, _>> = Vec::new();
    let mut refreshed: Vec<BoxFuture<'_, _>> = Vec::new();
    for caller in 0..50 {
        initialized.push(Box::pin(core.initialize_within(PATIENCE)));
        refreshed.push(Box::pin(core.refresh_now_within(PATIENCE)));
        poll_once(&mut initialized[caller]);
        if caller == 0 {
            script.fetched();
        }
        poll_once(&mut refreshed[caller]);
        core.refresh_now();
    }
    script.give_config(&shop(), "1");
    for future in initialized {
        assert_eq!(block_on(future), Ok(()));
    }
    for future in refreshed {
        assert!(matches!(block_on(future), Ok(RefreshOutcome::Updated(_))));
    }
    block_on(core.close());
    assert!(script.fetches.is_empty(), "another fetch was started");
}

/// Like a `select!` loop whose other branch is always ready first.
#[test]
fn a_repeatedly_recreated_initialize_is_one_fetch() {
    let (core, script) = keyed_script();
    for round in 0..200 {
        poll_once(&mut (Box::pin(core.initialize_within(PATIENCE)) as BoxFuture<'_, _>));
        if round == 0 {
            script.fetched();
        }
    }
    let mut last: BoxFuture<'_, _> = Box::pin(core.initialize_within(PATIENCE));
    poll_once(&mut last);
    script.give_config(&shop(), "1");
    assert_eq!(block_on(last), Ok(()));
    block_on(core.close());
    assert!(script.fetches.is_empty(), "another fetch was started");
}

#[test]
fn a_close_answers_all_waiters_of_one_fetch() {
    let (core, script) = keyed_script();
    let mut waiting: Vec<BoxFuture<'_, _>> = Vec::new();
    for caller in 0..200 {
        waiting.push(Box::pin(core.initialize_within(PATIENCE)));
        poll_once(&mut waiting[caller]);
        if caller == 0 {
            script.fetched();
        }
    }
    core.to_sync().close();
    for future in waiting {
        assert_eq!(block_on(future), Err(InitializeError::Closed));
    }
    assert!(script.fetches.is_empty());
}

/// A transport that only the test can end.
struct Deaf {
    asked: Sender<()>,
    go_on: Receiver<()>,
}

impl ConfigSource for Deaf {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.asked.send(()).unwrap();
        let _ = self.go_on.recv();
        Err(TransportError::Connect)
    }
}

#[test]
fn a_close_releases_callers_of_a_fetch_that_never_ends() {
    let ((asked, begun), (hold, go_on)) = (unbounded(), bounded::<()>(0));
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).config_source(Deaf { asked, go_on }).build().unwrap().to_async();
    let mut waiting: BoxFuture<'_, _> = Box::pin(core.initialize_within(PATIENCE));
    poll_once(&mut waiting);
    begun.recv_timeout(PATIENCE).unwrap();
    let mut close: BoxFuture<'_, _> = Box::pin(core.close());
    poll_once(&mut close);
    // The fetch continues; only then is it released.
    assert_eq!(block_on(waiting), Err(InitializeError::Closed));
    drop(hold);
    block_on(close);
}

/// Serves the shop at once, and experiences on demand.
struct SlowPreviews {
    asked: Sender<String>,
    /// Taken by an interrupt.
    running: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    answers: Receiver<()>,
}

impl ConfigSource for SlowPreviews {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Ok(ConfigResponse::Fetched { body: shop().to_string(), etag: None })
    }

    fn fetch_experience(&self, _: &ConfigRequest<'_>, id: &str) -> Result<ConfigResponse, TransportError> {
        self.asked.send(id.to_owned()).unwrap();
        crossbeam_channel::select! {
            recv(self.answers) -> _ => Ok(ConfigResponse::Fetched { body: shop().to_string(), etag: None }),
            recv(self.stopped) -> _ => Err(TransportError::Interrupted),
        }
    }

    fn interrupt(&self) {
        self.running.lock().unwrap().take();
    }
}

/// A ready core, the previews that it fetches, and a way to release each of them.
fn slow_previews() -> (AsyncCore, Receiver<String>, Sender<()>) {
    let (asked, previews) = unbounded();
    let (answer, answers) = unbounded();
    let (running, stopped) = bounded(0);
    let transport = SlowPreviews { asked, running: Mutex::new(Some(running)), stopped, answers };
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).config_source(transport).build().unwrap().to_async();
    block_on(core.initialize()).unwrap();
    (core, previews, answer)
}

#[test]
fn a_refresh_never_waits_for_previews() {
    let (core, previews, answer) = slow_previews();
    let mut contexts: Vec<_> = (0..20).map(|_| block_on(core.create_context("v", ())).unwrap()).collect();
    let ids: Vec<_> = (500..520).map(|id| id.to_string()).collect();
    let asked = contexts.iter_mut().zip(&ids);
    let mut waiting: Vec<BoxFuture<'_, _>> =
        asked.map(|(context, id)| Box::pin(context.set_preview(id, "1")) as BoxFuture<'_, _>).collect();
    waiting.iter_mut().for_each(poll_once);
    assert_eq!(previews.recv_timeout(PATIENCE).unwrap(), "500");
    assert!(matches!(core.to_sync().refresh_now_within(PATIENCE), Ok(RefreshOutcome::Updated(_))));
    // All callers waiting behind it are gone, except for the last one.
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    answer.send(()).unwrap();
    assert_eq!(previews.recv_timeout(PATIENCE).unwrap(), "519");
    answer.send(()).unwrap();
    assert_eq!(block_on(&mut last), Err(PreviewError::ExperienceNotFound));
    block_on(core.close());
    assert!(previews.is_empty(), "a fetch that nobody waits for");
}

#[test]
fn concurrent_previews_of_one_experience_share_one_fetch() {
    let (core, previews, answer) = slow_previews();
    let mut contexts: Vec<_> = (0..20).map(|_| block_on(core.create_context("v", ())).unwrap()).collect();
    let mut waiting: Vec<BoxFuture<'_, _>> = contexts
        .iter_mut()
        .map(|context| Box::pin(context.set_preview("500", "1")) as BoxFuture<'_, _>)
        .collect();
    waiting.iter_mut().for_each(poll_once);
    previews.recv_timeout(PATIENCE).unwrap();
    answer.send(()).unwrap();
    for future in waiting {
        assert_eq!(block_on(future), Err(PreviewError::ExperienceNotFound));
    }
    block_on(core.close());
    assert!(previews.is_empty(), "one fetch is enough");
}
