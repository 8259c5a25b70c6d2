//! What changes while the page is open: totals, counts, the latest events and refusals, faults.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::guard::AdminRequest;
use crate::received::{EventData, ReceivedEvent, ReceivedRequest};
use crate::state::State;

/// How long a request waits for a change.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most events and refused requests that the page shows, latest first.
const EVENTS: usize = 200;
const REFUSED: usize = 50;
/// The most values of a conversion, and the most characters of a string and of a body, that are shown.
const VALUES: usize = 10;
const TEXT: usize = 200;
const BODY: usize = 2_000;

/// Responds once there is something newer than the version that the page has seen.
pub(crate) async fn answer(state: &State, request: &AdminRequest<'_>) -> Answer {
    let mut version = state.recorder.version();
    if let Some(seen) = request.query("seen").and_then(|seen| seen.parse::<u64>().ok()) {
        // Without a change the page gets the same state, and asks again.
        let _ = tokio::time::timeout(PATIENCE, version.wait_for(|version| *version != seen)).await;
    }
    // Read before the record: changes in between are reported next time.
    let version = *version.borrow();
    let wanted = request.query("visitor").unwrap_or_default();
    let mut live = state.recorder.read(|received, tally| {
        let events = received.events.iter().rev().filter(|event| event.visitor_id.contains(&wanted));
        let refused = received.requests.iter().rev().filter(|request| request.flaw.is_some());
        json!({
            "version": version,
            "totals": received.totals,
            "tally": tally,
            "events": events.take(EVENTS).map(shown_event).collect::<Vec<_>>(),
            "refused": refused.take(REFUSED).map(shown_request).collect::<Vec<_>>(),
        })
    });
    live["faults"] = json!(state.faults().list());
    let projects = state.projects();
    let projects = projects.iter().map(|project| {
        json!({
            "key": project.keys().first(),
            "ids": project.config.direct_key(),
            "file": project.file(),
            "revision": project.revision,
        })
    });
    live["projects"] = projects.collect();
    Answer::json(StatusCode::OK, &live)
}

fn shown_event(event: &ReceivedEvent) -> Value {
    let mut shown = json!({
        "request": event.request,
        "ids": format!("{}/{}", event.account_id, event.project_id),
        "visitor": clipped(&event.visitor_id, TEXT),
    });
    match &event.event {
        EventData::Bucketing { experience_id, variation_id } => {
            shown["experience"] = json!(experience_id);
            shown["variation"] = json!(variation_id);
        }
        EventData::Conversion { goal_id, goal_data, .. } => {
            let values = goal_data.iter().flatten().take(VALUES);
            let values = values.map(|(key, value)| json!([key, clipped(&value.to_string(), TEXT)]));
            shown["goal"] = json!(goal_id);
            shown["values"] = values.collect();
        }
    }
    shown
}

fn shown_request(request: &ReceivedRequest) -> Value {
    json!({
        "number": request.number,
        "title": clipped(&format!("{} {}", request.method, request.path), TEXT),
        "flaw": request.flaw.as_deref().map(|flaw| clipped(flaw, 2 * TEXT)),
        "status": request.status,
        "faults": request.faults,
        "body": clipped(&request.body, BODY),
    })
}

fn clipped(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
