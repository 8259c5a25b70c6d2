//! One project for the page: its config as served and as the SDK reads it; checking and replacing it.

use convert_evaluation::config::{CompileOptions, Compiled, ConfigSnapshot, SnapshotExt, compile};
use convert_evaluation::decide::owned_buckets;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::ConfigError;
use crate::answer::Answer;
use crate::config::Config;
use crate::guard::AdminRequest;
use crate::projects::ServedProject;
use crate::state::State;

/// The current config.
pub(crate) fn show(state: &State, request: &AdminRequest<'_>) -> Answer {
    let mut projects = state.projects();
    let Some(project) = projects.find(&sdk_key(request)) else { return unknown_key(request) };
    let warning = project.reload();
    let answer = shown(project);
    drop(projects);
    if let Some(warning) = warning {
        state.log(&warning);
    }
    answer
}

/// Serves the config in the body from now on, even one that the SDK would reject, to see how a client reacts.
pub(crate) fn replace(state: &State, request: &AdminRequest<'_>) -> Answer {
    let Ok(text) = str::from_utf8(request.body) else { return not_text() };
    match state.set_config(&sdk_key(request), text.to_owned(), shown) {
        Ok(answer) => answer,
        Err(error) => refused(&error),
    }
}

/// Checks the config in the body without serving it.
pub(crate) fn check(state: &State, request: &AdminRequest<'_>) -> Answer {
    let Ok(text) = str::from_utf8(request.body) else { return not_text() };
    let previous = match state.projects().find(&sdk_key(request)) {
        Some(project) => project.config.clone(),
        None => return unknown_key(request),
    };
    match Config::parse(text.to_owned(), Some(&previous)) {
        Ok(_) => Answer::json(StatusCode::OK, &as_read(text)),
        Err(error) => refused(&error),
    }
}

fn shown(project: &ServedProject) -> Answer {
    let mut shown = as_read(project.config.text());
    shown["text"] = json!(project.config.text());
    shown["file"] = json!(project.file());
    shown["revision"] = json!(project.revision);
    Answer::json(StatusCode::OK, &shown)
}

/// A config as the SDK reads it: its problems, and the experiences with the buckets of their variations.
fn as_read(text: &str) -> Value {
    match compile(text.to_owned(), &CompileOptions::default()) {
        Ok(Compiled { snapshot, warnings, more_warnings }) => json!({
            "problem": null,
            "warnings": warnings,
            "more_warnings": more_warnings,
            "buckets": CompileOptions::default().max_traffic,
            "experiences": experiences(&snapshot),
            "goals": goals(&snapshot),
        }),
        Err(problem) => json!({
            "problem": problem.to_string(),
            "warnings": [],
            "more_warnings": 0,
            "experiences": [],
            "goals": [],
        }),
    }
}

fn experiences(snapshot: &ConfigSnapshot) -> Value {
    let experiences = snapshot.experiences().iter().enumerate().map(|(position, experience)| {
        let variations = experience.variations.iter().zip(owned_buckets(snapshot, position));
        let variations = variations.map(|(variation, buckets)| {
            json!({ "id": variation.id.as_str(), "key": variation.key.as_str(), "buckets": buckets })
        });
        json!({
            "id": experience.id.as_str(),
            "key": experience.key.as_str(),
            "name": experience.name.as_deref(),
            "variations": variations.collect::<Vec<_>>(),
        })
    });
    experiences.collect()
}

fn goals(snapshot: &ConfigSnapshot) -> Value {
    snapshot.goals().iter().map(|goal| json!({ "id": goal.id.as_str(), "key": goal.key.as_str() })).collect()
}

fn sdk_key(request: &AdminRequest<'_>) -> String {
    request.query("key").unwrap_or_default()
}

fn not_text() -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "the config is not UTF-8 text")
}

fn unknown_key(request: &AdminRequest<'_>) -> Answer {
    refused(&ConfigError::UnknownKey(sdk_key(request)))
}

fn refused(error: &ConfigError) -> Answer {
    let status = match error {
        ConfigError::UnknownKey(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    Answer::error(status, error.to_string())
}
