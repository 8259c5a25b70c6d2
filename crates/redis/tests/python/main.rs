//! The official Python package and this SDK on one Redis: each sees the other's decisions, segments and marks.
//!
//! `tests/python/share` installs the package and runs this.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail where it stands")]

#[path = "../support/sdk.rs"]
mod sdk;
#[path = "../support/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use convert_emulator::{Emulator, EventData};
use convert_sdk::{Core, DecisionSource};
use convert_sdk_redis::RedisStore;
use serde_json::{Value, json};

use sdk::{PATIENCE, assert_converted, demo, serve, start, to, visitor, with};

const PREFIX: &str = "shared:";
const EXPERIENCE: &str = "homepage-headline";
/// Ids whose keys reveal any difference between two JSON encoders.
const ODD: [&str; 4] = ["ü", "\u{1f600}", "\"\\/", "\t\u{7f}"];

struct Shared {
    python: String,
    redis: String,
    emulator: Emulator,
}

fn main() {
    let Ok(python) = std::env::var("CONVERT_PYTHON") else {
        println!("SKIPPED: tests/python/share names the Python that has the official package");
        return;
    };
    let Some(server) = server::Redis::start(&[]) else { return };
    let emulator = serve();
    let shared = Shared { python, redis: server.url(), emulator };
    shared.rust_finds_what_python_has_left();
    shared.python_finds_what_rust_has_left();
}

impl Shared {
    fn rust_finds_what_python_has_left(&self) {
        let visitors = group("python");
        let segments = json!({"country": "GR"});
        let stored = self.python(&visitors, &["purchase"], &segments);
        assert_converted(&self.emulator, "python", 104, 1);
        let (core, alone) = (self.rust(), start(with(&self.emulator, &moved()).tracking(false)));
        let mut elsewhere = 0;
        for (id, stored) in visitors.iter().zip(&stored) {
            let context = visitor(&core, id);
            let decided = context.run_experience(EXPERIENCE).unwrap();
            assert_eq!(
                (decided.variation_id(), decided.source()),
                (&**stored, DecisionSource::Stored),
                "{id:?}"
            );
            let hashed = visitor(&alone, id).run_experience(EXPERIENCE).unwrap().variation_id().to_owned();
            elsewhere += usize::from(hashed != *stored);
            assert!(context.track_conversion("purchase").tracked());
            assert!(context.track_conversion("signup").tracked());
        }
        assert!(elsewhere > 0, "without Python's decisions some would be others");
        core.shutdown(PATIENCE).unwrap();
        self.assert_each_event_was_sent_once("python");
        for event in self.emulator.received().events {
            let country = event.segments.as_ref().and_then(|segments| segments.get("country"));
            assert_eq!(country, Some(&json!("GR")), "{event:?}");
        }
        println!("{elsewhere} of {} decisions are Python's alone, and no event was repeated", visitors.len());
    }

    fn python_finds_what_rust_has_left(&self) {
        let visitors = group("rust");
        let core = self.rust();
        let mut stored = Vec::new();
        for id in &visitors {
            let context = visitor(&core, id);
            stored.push(context.run_experience(EXPERIENCE).unwrap().variation_id().to_owned());
            assert!(context.track_conversion("purchase").tracked());
        }
        core.shutdown(PATIENCE).unwrap();
        assert_converted(&self.emulator, "rust", 104, 1);
        let found = self.python(&visitors, &["purchase", "signup"], &json!({}));
        assert_eq!(found, stored);
        let alone = start(to(&self.emulator).tracking(false));
        let hashed =
            |id: &String| visitor(&alone, id).run_experience(EXPERIENCE).unwrap().variation_id().to_owned();
        let elsewhere = visitors.iter().zip(&stored).filter(|(id, stored)| hashed(id) != **stored).count();
        assert!(elsewhere > 0, "without this SDK's decisions some would be others");
        self.assert_each_event_was_sent_once("rust");
        println!(
            "{elsewhere} of {} decisions are this SDK's alone, and no event was repeated",
            visitors.len()
        );
    }

    fn python(&self, visitors: &[String], goals: &[&str], segments: &Value) -> Vec<String> {
        let task = json!({
            "redis": self.redis, "prefix": PREFIX, "sdk_key": "10035569/10034190",
            "base": self.emulator.config_url(), "track": self.emulator.track_url(),
            "visitors": visitors, "goals": goals, "segments": segments,
        });
        let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/peer.py");
        let mut peer = Command::new(&self.python)
            .arg(peer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        serde_json::to_writer(peer.stdin.take().unwrap(), &task).unwrap();
        let ended = peer.wait_with_output().unwrap();
        assert!(ended.status.success(), "Python has failed");
        serde_json::from_slice(&ended.stdout).unwrap()
    }

    fn rust(&self) -> Core {
        let store = RedisStore::builder(&self.redis).prefix(PREFIX).build().unwrap();
        start(with(&self.emulator, &moved()).data_store(store).store_timeout(PATIENCE))
    }

    /// One exposure and one conversion of each goal for every visitor of the group.
    fn assert_each_event_was_sent_once(&self, group: &str) {
        let received = self.emulator.received();
        let of_group = |event: &&convert_emulator::ReceivedEvent| event.visitor_id.starts_with(group);
        let mut events: Vec<_> = received
            .events
            .iter()
            .filter(of_group)
            .map(|event| match &event.event {
                EventData::Bucketing { experience_id, .. } => (&event.visitor_id, experience_id),
                EventData::Conversion { goal_id, .. } => (&event.visitor_id, goal_id),
            })
            .collect();
        let sent = events.len();
        events.sort();
        events.dedup();
        assert_eq!((sent, events.len()), (3 * 104, 3 * 104), "of {group}");
    }
}

fn group(name: &str) -> Vec<String> {
    let plain = (0..100).map(|number| format!("{name}-{number}"));
    plain.chain(ODD.iter().map(|odd| format!("{name}-{odd}"))).collect()
}

/// The same project with nearly all traffic moved to the last variation.
fn moved() -> Value {
    let mut config = demo();
    let experiences = config["experiences"].as_array_mut().unwrap();
    let experience = experiences.iter_mut().find(|experience| experience["key"] == EXPERIENCE).unwrap();
    let variations = experience["variations"].as_array_mut().unwrap();
    let last = variations.len() - 1;
    for (index, variation) in variations.iter_mut().enumerate() {
        variation["traffic_allocation"] = json!(if index == last { 99.98 } else { 0.01 });
    }
    config
}
