//! The admin API under `/__admin/`: the record, the faults and the projects as JSON.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fault::Fault;
use crate::projects::ServedProject;
use crate::received::{Received, query_value};
use crate::state::State;

/// What stands before the resources of the admin API.
pub(crate) const ADMIN_PREFIX: &str = "/__admin/";

pub(crate) fn answer_admin(
    state: &State,
    method: &Method,
    resource: &str,
    query: Option<&str>,
    body: &[u8],
) -> Answer {
    match (method, resource) {
        (&Method::GET, "received") => {
            ok(&received(&state.recorder.snapshot(), query_value(query, "visitor").as_deref()))
        }
        (&Method::DELETE, "received") => {
            state.recorder.clear();
            ok(&json!({ "cleared": "received" }))
        }
        (&Method::GET, "faults") => ok(&json!(state.faults().list())),
        (&Method::POST, "faults") => inject(state, body),
        (&Method::DELETE, "faults") => {
            state.faults().clear();
            ok(&json!({ "cleared": "faults" }))
        }
        (&Method::GET, "projects") => ok(&state.projects().iter().map(project).collect::<Vec<_>>().into()),
        (_, "received" | "faults" | "projects") => {
            Answer::error(StatusCode::METHOD_NOT_ALLOWED, "this resource does not take this method")
        }
        _ => Answer::error(StatusCode::NOT_FOUND, "the admin API has received, faults and projects"),
    }
}

fn ok(value: &Value) -> Answer {
    Answer::json(StatusCode::OK, value)
}

fn received(received: &Received, visitor: Option<&str>) -> Value {
    match visitor {
        Some(visitor) => {
            json!({ "visitor": visitor, "events": received.events_of(visitor).collect::<Vec<_>>() })
        }
        None => json!({
            "totals": received.totals,
            "visitors": received.by_visitor(),
            "requests": received.requests,
        }),
    }
}

fn inject(state: &State, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Vec<Fault>>(body) {
        Ok(faults) => {
            let mut pending = state.faults();
            for fault in faults {
                pending.add(fault);
            }
            ok(&json!(pending.list()))
        }
        Err(error) => Answer::error(StatusCode::BAD_REQUEST, format!("not a list of faults: {error}")),
    }
}

fn project(project: &ServedProject) -> Value {
    json!({
        "account_id": project.config.account_id,
        "project_id": project.config.project_id,
        "sdk_keys": project.keys(),
        "file": project.file(),
        "experiences": project.config.experience_count(),
        "wants_secret": project.secret.is_some(),
    })
}
