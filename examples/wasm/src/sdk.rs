//! What the page can ask, and the core and the pump that answer.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::time::Duration;

use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::FlushReport;
use convert_sdk::error::{FlushError, InitializeError};
use convert_sdk::ports::TransportError;
use convert_sdk::pump::{Answer, Pump, Question, RequestId};
use convert_sdk::{Attributes, ConversionOptions, Core, SdkConfig};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::host::PageClock;

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// A question of the page.
#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    /// Starts with this project.
    Start { sdk_key: String, environment: Option<String>, config_url: String, track_url: String },
    /// Works for about so many milliseconds, and hands out what has to be sent.
    Turn { budget: f64 },
    /// The response to a request.
    Response { id: u64, status: u16, headers: Vec<(String, String)>, body: String },
    /// There is no response to a request; the server may have it.
    Lost { id: u64 },
    /// All variations and features of a visitor.
    Decide { visitor: String, attributes: Map<String, Value> },
    /// A visitor reached a goal.
    Convert { visitor: String, attributes: Map<String, Value>, goal: String, revenue: Option<f64> },
    /// Delivers everything recorded so far; the answer is the number of the flush, whose end a turn tells.
    Flush { within: f64 },
    /// The ledger.
    Stats,
}

struct Running {
    core: Core,
    pump: Pump,
    ready: Option<Question<Result<(), InitializeError>>>,
    /// Those that are not answered yet, with their numbers.
    flushes: Vec<(u64, Question<Result<FlushReport, FlushError>>)>,
    last_flush: u64,
}

/// The answer to a question in JSON: an object, with `error` if it cannot be answered.
pub(crate) fn answer(question: &[u8]) -> Value {
    let answered = serde_json::from_slice(question).map_err(|error| error.to_string()).and_then(|ask| {
        RUNNING.with_borrow_mut(|running| match (ask, running) {
            (Ask::Start { sdk_key, environment, config_url, track_url }, running) => {
                *running = Some(Running::start(&sdk_key, environment, config_url, track_url)?);
                Ok(json!({}))
            }
            (_, None) => Err("not started".to_owned()),
            (ask, Some(running)) => running.answer(ask),
        })
    });
    answered.unwrap_or_else(|error| json!({ "error": error }))
}

impl Running {
    fn start(
        sdk_key: &str,
        environment: Option<String>,
        config_url: String,
        track_url: String,
    ) -> Result<Self, String> {
        // A page served from this machine may use the emulator; any other URL has to be https.
        let transport = TransportConfig::builder()
            .config_base_url(config_url)
            .track_base_url(track_url)
            .danger_allow_http_on_loopback(true)
            .build();
        let config = SdkConfig::builder().sdk_key(sdk_key).transport(transport.map_err(text)?);
        let config = match environment {
            Some(environment) => config.environment(environment),
            None => config,
        };
        let (core, pump) = Core::builder(config.build().map_err(text)?).pumped_by(PageClock).map_err(text)?;
        let ready = Some(pump.initialize());
        Ok(Self { core, pump, ready, flushes: Vec::new(), last_flush: 0 })
    }

    fn answer(&mut self, ask: Ask) -> Result<Value, String> {
        Ok(match ask {
            Ask::Start { .. } => json!({}),
            Ask::Turn { budget } => self.turn(milliseconds(budget)),
            Ask::Response { id, status, headers, body } => {
                let response = Answer::response(status).body(body);
                let response =
                    headers.iter().fold(response, |response, (name, value)| response.header(name, value));
                json!({ "awaited": self.pump.answer(RequestId::from_u64(id), response) })
            }
            Ask::Lost { id } => {
                let lost = Answer::lost(TransportError::Broken(ErrorKind::Other));
                json!({ "awaited": self.pump.answer(RequestId::from_u64(id), lost) })
            }
            Ask::Decide { visitor, attributes } => self.decide(&visitor, attributes)?,
            Ask::Convert { visitor, attributes, goal, revenue } => {
                let context =
                    self.core.create_context(visitor, Attributes::from(attributes)).map_err(text)?;
                let options = revenue
                    .map_or_else(ConversionOptions::new, |amount| ConversionOptions::new().revenue(amount));
                json!({ "status": context.track_conversion_with(&goal, &options).status })
            }
            Ask::Flush { within } => {
                self.last_flush += 1;
                self.flushes.push((self.last_flush, self.pump.flush(milliseconds(within))));
                json!({ "flush": self.last_flush })
            }
            Ask::Stats => json!(self.core.stats()),
        })
    }

    /// What the turn left undone, when the next one is due, and the requests to carry.
    fn turn(&mut self, budget: Duration) -> Value {
        let report = self.pump.turn(budget);
        let mut requests = Vec::new();
        while let Some(request) = self.pump.next_request() {
            requests.push(json!({
                "id": request.id.to_u64(),
                "method": request.method,
                "url": request.url,
                "headers": request.headers,
                "body": String::from_utf8_lossy(&request.body),
                "timeout": request.timeout.as_millis(),
            }));
        }
        let mut told = json!({
            "work_left": report.work_left,
            "next_due": report.next_due.map(|due| due.as_millis()),
            "requests": requests,
        });
        if let Some(ready) = self.ready.as_mut().and_then(Question::check) {
            told["ready"] = json!({ "error": ready.err().map(text) });
            self.ready = None;
        }
        let mut flushed = Vec::new();
        self.flushes.retain_mut(|(flush, question)| match question.check() {
            Some(ended) => {
                flushed.push(json!({ "flush": flush, "error": ended.err().map(text) }));
                false
            }
            None => true,
        });
        told["flushed"] = flushed.into();
        told
    }

    fn decide(&self, visitor: &str, attributes: Map<String, Value>) -> Result<Value, String> {
        let context = self.core.create_context(visitor, Attributes::from(attributes)).map_err(text)?;
        let variations: Map<String, Value> = context
            .run_experiences()
            .iter()
            .map(|result| (result.experience_key().to_owned(), json!(result.variation_key())))
            .collect();
        let features: Map<String, Value> = context
            .run_features()
            .iter()
            .map(|feature| {
                let variables: Map<String, Value> =
                    feature.variables().map(|(name, value)| (name.to_owned(), value.clone())).collect();
                (feature.feature_key().to_owned(), variables.into())
            })
            .collect();
        Ok(json!({ "variations": variations, "features": features }))
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number / 1e3).unwrap_or_default()
}
