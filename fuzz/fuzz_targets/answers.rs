//! Arbitrary answers from a transport: the ledger balances, a flush tells the truth, and a bad config never replaces a
//! good one.
#![no_main]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_fuzz::{SHOP, edited, text};
use convert_sdk::config::RefreshOutcome;
use convert_sdk::delivery::{DeliveryConfig, FlushOptions};
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{ConversionOptions, Core, FlushError, SdkConfig, http};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

/// Long enough that only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = std::result::Result<Receipt, DeliveryFailure>;
type ConfigAnswer = std::result::Result<ConfigResponse, TransportError>;

/// Gives the queued answers at once, then success.
#[derive(Default)]
struct Scripted {
    configs: Mutex<VecDeque<ConfigAnswer>>,
    answers: Mutex<VecDeque<Answer>>,
    /// Requests, and the events in successful ones.
    sent: Mutex<(u64, u64)>,
}

impl ConfigSource for Scripted {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> ConfigAnswer {
        self.configs.lock().unwrap().pop_front().unwrap_or(Err(TransportError::Connect))
    }

    fn fetch_experience(&self, request: &ConfigRequest<'_>, _: &str) -> ConfigAnswer {
        self.fetch_config(request)
    }
}

impl EventSink for Scripted {
    fn deliver(&self, batch: &EventBatch<'_>) -> Answer {
        let body: Value = serde_json::from_slice(batch.body).expect("a body is JSON");
        let visitors = body["visitors"].as_array().expect("a body has visitors");
        let events: usize = visitors.iter().map(|it| it["events"].as_array().map_or(0, Vec::len)).sum();
        assert!(events > 0, "a request without events");
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Receipt::default()));
        let mut sent = self.sent.lock().unwrap();
        sent.0 += 1;
        if answer.is_ok() {
            sent.1 += events as u64;
        }
        answer
    }
}

fn error(u: &mut Unstructured<'_>) -> Result<TransportError> {
    Ok(match u.int_in_range(0..=7)? {
        0 => TransportError::Connect,
        1 => TransportError::Timeout("connecting"),
        2 => TransportError::Status(u.arbitrary()?),
        3 => TransportError::Protocol,
        4 => TransportError::InvalidRequest,
        5 => TransportError::Interrupted,
        6 => TransportError::TooLarge(u.arbitrary()?),
        _ => TransportError::Other(text(u)?.into()),
    })
}

fn config_answer(u: &mut Unstructured<'_>) -> Result<ConfigAnswer> {
    let etag = if u.arbitrary()? { Some(text(u)?) } else { None };
    let body = match u.int_in_range(0..=6)? {
        0 => return Ok(Err(error(u)?)),
        1 => return Ok(Ok(ConfigResponse::NotModified)),
        2 => text(u)?,
        3 => edited(u)?.to_string(),
        4 => SHOP.replace("10034190", "77"),
        5 => SHOP[..u.int_in_range(0..=SHOP.len())?].to_owned(),
        _ => SHOP.replace("purchase", "order"),
    };
    Ok(Ok(ConfigResponse::Fetched { body, etag }))
}

fn answer(u: &mut Unstructured<'_>) -> Result<Answer> {
    const STATUSES: [u16; 12] = [200, 204, 299, 300, 304, 400, 408, 413, 425, 429, 500, 503];
    if u.ratio(1, 4)? {
        let error = error(u)?;
        let sent = u.arbitrary()?;
        return Ok(Err(if sent { DeliveryFailure::Unknown(error) } else { DeliveryFailure::NotSent(error) }));
    }
    let status = if u.arbitrary()? { *u.choose(&STATUSES)? } else { u.arbitrary()? };
    Ok(http::delivery_answer(status, u.arbitrary::<Option<u64>>()?.map(Duration::from_secs)))
}

fn refresh(core: &Core) {
    let before = core.current_config();
    let outcome = core.refresh_now_within(PATIENCE);
    let after = core.current_config();
    let same = match (&before, &after) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        (before, after) => before.is_none() && after.is_none(),
    };
    match outcome {
        Ok(RefreshOutcome::Updated(_)) => {
            let after = after.expect("an update is in place");
            let ids = |it: &convert_sdk::config::ConfigSnapshot| {
                (it.account_id().to_owned(), it.project_id().to_owned())
            };
            assert!(before.is_none_or(|before| ids(&before) == ids(&after)), "another project's config");
        }
        Ok(_) => assert!(same && before.is_some(), "not modified, and another config"),
        Err(_) => assert!(same, "a bad answer replaced the config"),
    }
}

fn record(core: &Core, u: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=40)? {
        let Ok(mut visitor) = core.create_context(text(u)?, ()) else { return Ok(()) };
        visitor.run_experiences();
        let goals: Vec<_> = visitor.config().goal_keys().map(str::to_owned).collect();
        for goal in goals.iter().take(2) {
            visitor.track_conversion_with(goal, &ConversionOptions::new().revenue(u.arbitrary()?));
        }
        if u.ratio(1, 8)? {
            let _ = visitor.set_preview(&text(u)?, "1");
        }
    }
    Ok(())
}

fn steps(core: &Core, transport: &Scripted, u: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=12)? {
        match u.int_in_range(0..=4)? {
            0 => {
                transport.configs.lock().unwrap().push_back(config_answer(u)?);
                refresh(core);
            }
            1 | 2 => record(core, u)?,
            3 => transport.answers.lock().unwrap().push_back(answer(u)?),
            _ => match core.flush_with(FlushOptions::within(PATIENCE).single_attempt(true)) {
                Ok(report) => assert_eq!((report.pending, report.dropped), (0, 0)),
                Err(FlushError::Incomplete(report)) => assert!(!report.is_complete()),
                Err(error) => panic!("{error}"),
            },
        }
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
    }
    Ok(())
}

fn input(data: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(data);
    let capacity = u.int_in_range(1..=64)?;
    let delivery = DeliveryConfig::builder()
        .queue_capacity(capacity)
        .max_pending_records(capacity)
        .lanes(u.int_in_range(1..=3)?)
        .build()
        .unwrap();
    let config = SdkConfig::builder()
        .sdk_key("10035569/10034190")
        .batch_size(u.int_in_range(1..=20)?)
        .delivery(delivery)
        .build()
        .expect("options in their ranges");
    let transport = Arc::new(Scripted::default());
    if u.ratio(7, 8)? {
        let good = ConfigResponse::Fetched { body: SHOP.to_owned(), etag: None };
        transport.configs.lock().unwrap().push_back(Ok(good));
    }
    let core = Core::builder(config).transport(Arc::clone(&transport)).build().expect("no thread");
    let _ = core.initialize_within(PATIENCE);
    let used_up = steps(&core, &transport, &mut u);
    let stats = core.close();
    assert!(stats.is_balanced() && stats.pending == 0, "{stats:?}");
    assert_eq!((stats.requests, stats.delivered_events), *transport.sent.lock().unwrap(), "{stats:?}");
    used_up
}

fuzz_target!(|data: &[u8]| -> Corpus { if input(data).is_ok() { Corpus::Keep } else { Corpus::Reject } });
