//! The admin API under `/__admin/`: the record, the faults and the projects as JSON, and the page that shows them.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fault::Fault;
use crate::guard::{AdminRequest, refusal, sealed};
use crate::page;
use crate::projects::ServedProject;
use crate::received::Received;
use crate::state::State;

/// The path prefix of the admin API's resources.
pub(crate) const ADMIN_PREFIX: &str = "/__admin/";

pub(crate) async fn answer_admin(state: &State, request: &AdminRequest<'_>) -> Answer {
    sealed(match refusal(request.headers, request.https) {
        Some(why) => Answer::error(StatusCode::FORBIDDEN, why),
        None => match page::answer(state, request).await {
            Some(answer) => answer,
            None => answer_resource(state, request),
        },
    })
}

fn answer_resource(state: &State, request: &AdminRequest<'_>) -> Answer {
    match (request.method, request.resource) {
        (&Method::GET, "received") => {
            ok(&received(&state.recorder.snapshot(), request.query("visitor").as_deref()))
        }
        (&Method::DELETE, "received") => {
            state.recorder.clear();
            ok(&json!({ "cleared": "received" }))
        }
        (&Method::GET, "faults") => ok(&json!(state.faults().list())),
        (&Method::POST, "faults") => inject(state, request.body),
        (&Method::DELETE, "faults") => {
            state.faults().clear();
            state.recorder.changed_elsewhere();
            ok(&json!({ "cleared": "faults" }))
        }
        (&Method::GET, "projects") => ok(&state.projects().iter().map(project).collect::<Vec<_>>().into()),
        (_, "received" | "faults" | "projects") => Answer::method_not_allowed(),
        _ => Answer::error(StatusCode::NOT_FOUND, "no such resource: try received, faults or projects"),
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
            let pending = {
                let mut pending = state.faults();
                for fault in faults {
                    pending.add(fault);
                }
                pending.list()
            };
            state.recorder.changed_elsewhere();
            ok(&json!(pending))
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
