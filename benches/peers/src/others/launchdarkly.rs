use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture};
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, EventProcessorBuilder, NullEventProcessorBuilder, TestData,
};
use launchdarkly_server_sdk_evaluation::{
    Context, ContextBuilder, Flag, FlagValue, Segment, Store, evaluate,
};
use serde_json::json;
use tokio::runtime::Runtime;

use super::parsed;
use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{ASKED_FOR, GOAL, Request, asked_keys};
use crate::{Evaluate, Server};

/// Flags by key; the trait requires owned ones, so the flag is looked up once instead of being cloned on each call.
struct Nothing;

impl Store for Nothing {
    fn flag(&self, _: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

pub(crate) fn evaluator(experiences: usize, visitors: usize) -> Evaluate {
    let flags: HashMap<String, Flag> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), flag(&key, false))).collect();
    let (contexts, key) = (contexts(visitors), experience_key(ASKED));
    Box::new(move |at| {
        let Some(flag) = flags.get(black_box(key.as_str())) else { return false };
        let answer = evaluate(&Nothing, flag, &contexts[at], None).value;
        matches!(answer, Some(FlagValue::Str(variation)) if !variation.is_empty())
    })
}

/// `tracked`: whether each evaluation is an exposure, as in an experiment, and not only part of a sum.
fn started(experiences: usize, config: ConfigBuilder, tracked: bool) -> Client {
    let source = TestData::new();
    for key in (0..experiences).map(experience_key) {
        source.use_preconfigured_flag(flag(&key, tracked));
    }
    let config = config.data_source(&source).build();
    let Some(client) = config.ok().and_then(|config| Client::build(config).ok()) else {
        unreachable!("a config of a peer")
    };
    assert!(client.start_with_runtime().is_ok(), "a client of a peer");
    while !client.initialized() {
        std::thread::sleep(Duration::from_millis(1));
    }
    client
}

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let config = ConfigBuilder::new("sdk-local").event_processor(&NullEventProcessorBuilder::new());
    let client = started(experiences, config, false);
    let (contexts, key) = (contexts(visitors), experience_key(ASKED));
    Box::new(move |at| !client.str_variation(&contexts[at], black_box(&key), String::new()).is_empty())
}

fn flag(key: &str, tracked: bool) -> Flag {
    parsed(json!({
        "key": key, "version": 1, "on": true, "salt": key, "variations": ["original", "variant", ""],
        "targets": [], "prerequisites": [], "offVariation": 2, "fallthrough": {"variation": 2},
        "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false},
        "rules": [{
            "id": "rule", "trackEvents": tracked,
            "clauses": [
                {"attribute": "plan", "op": "in", "values": ["pro"], "negate": false},
                {"attribute": "age", "op": "greaterThanOrEqual", "values": [18], "negate": false}
            ],
            "rollout": {"variations": [
                {"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}
            ]}
        }]
    }))
}

fn contexts(visitors: usize) -> Vec<Context> {
    let context = |n: usize| {
        let mut builder = ContextBuilder::new(visitor_id(n));
        builder.set_value("plan", "pro".into()).set_value("age", 30.0.into());
        let Ok(context) = builder.build() else { unreachable!("a context of a peer") };
        context
    };
    (0..visitors).map(context).collect()
}

/// Takes what the event processor sends.
#[derive(Clone)]
struct Sink;

impl HttpTransport for Sink {
    fn request(&self, _: launchdarkly_sdk_transport::Request<Option<Bytes>>) -> ResponseFuture {
        let nothing: ByteStream = Box::pin(futures_util::stream::empty());
        Box::pin(std::future::ready(Ok(launchdarkly_sdk_transport::Response::new(nothing))))
    }
}

struct Requests {
    client: Client,
    keys: [String; ASKED_FOR],
    runtime: Runtime,
}

/// Its own event processor takes each exposure and conversion, of known visitors too.
pub(crate) fn requests(experiences: usize) -> impl Server {
    let mut events = EventProcessorBuilder::new();
    // Room for two bursts; the default of 500 would refuse most of what a burst records.
    events.transport(Sink).capacity(10_000);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        unreachable!("a runtime of one thread")
    };
    let config = ConfigBuilder::new("sdk-local").event_processor(&events);
    Requests { client: started(experiences, config, true), keys: asked_keys(), runtime }
}

impl Server for Requests {
    fn ask(&mut self, request: &Request) -> bool {
        let mut builder = ContextBuilder::new(request.id.as_str());
        builder
            .set_value("country", request.country.as_str().into())
            .set_value("age", f64::from(request.age).into())
            .set_value("browser", request.browser.as_str().into())
            .set_value("plan", request.plan.as_str().into())
            .set_value("beta", request.beta.into());
        let Ok(context) = builder.build() else { return false };
        let has_value =
            |key: &String| !self.client.str_variation(&context, black_box(key), String::new()).is_empty();
        let decided = self.keys.iter().all(has_value);
        self.client.track_event(context, GOAL);
        decided
    }

    fn settle(&mut self) {
        assert!(self.runtime.block_on(self.client.flush_blocking(Duration::from_secs(60))), "a sink");
    }
}
