//! A local stand-in for Convert's config CDN and metrics endpoint.
//!
//! It serves any number of projects over real HTTPS, with a certificate authority of its own, and over plain
//! HTTP, both on 127.0.0.1; it checks every tracking payload field by field, writes down what arrived, and goes
//! wrong on purpose when told to. As a library it starts on free ports inside a test, on a thread of its own, so
//! that the test needs no async code; the `convert-emulator` program is the same for everything else.
//!
//! ```
//! use std::time::Duration;
//! use convert_emulator::{Emulator, Fault, FaultKind, Project};
//!
//! let emulator = Emulator::builder().project(Project::demo().sdk_key("demo/key")).start()?;
//! // Point the client at these, and let it trust `emulator.ca_pem()`.
//! let (config, track) = (emulator.config_url(), emulator.track_url());
//!
//! emulator.inject(Fault::track(FaultKind::status(503)).times(2));
//! // The client sends; the test waits for what arrives and never sleeps.
//! let waited = emulator.wait_for_events(1, Duration::from_millis(1));
//! assert!(waited.is_err(), "no client has sent anything here");
//! # Ok::<(), convert_emulator::StartError>(())
//! ```
//!
//! # Routes
//!
//! Both listeners serve all of them, over HTTP/1.1. An SDK key may contain a slash; a project also answers to
//! `{account_id}/{project_id}`. Any path may come before a route, as base URLs carry versions and ids.
//! 400 for a message with both `Content-Length` and `Transfer-Encoding`, and for HTTP/1.1 without one `Host`.
//!
//! **`GET /api/v1/config/{sdkKey}`** answers with the config, byte for byte as given unless something is left
//! out, with a strong `ETag`, `If-None-Match` (304) and gzip.
//! - `environment=`: an experience whose `environment` is set and differs is left out.
//! - `exp=`: all other experiences are left out. Without it, drafts (`"status": "draft"`) are left out, so a
//!   draft is what a preview has to fetch on its own.
//! - `_conv_low_cache=` and `debug_token=` are taken and change nothing.
//! - 404 for an unknown key; with a [secret](Project::secret), 401 without `Authorization`, 403 with a wrong one.
//!
//! **`POST …/track/{sdkKey}`** takes a payload, answers `{"status":"ok"}` and records its events.
//! - 400 `{"error": "…", "path": "visitors[0].events[2].data.goalId"}` for the first field that is wrong,
//!   missing, unknown or there twice; for an id that no config served so far has; for a visitor listed twice; for a
//!   `Content-Type` other than `application/json` and for any `Authorization` (path `headers.…`), since the
//!   secret must never go there.
//! - 404 for an unknown key, 413 above [`max_body`](EmulatorBuilder::max_body).
//! - 200 without recording if `User-Agent` does not start with `ConvertAgent/1.0`, as the real endpoint drops
//!   such events in silence; they are counted as [`dropped_as_bot`](Totals::dropped_as_bot).
//!
//! **`/__admin/`** is for people and other processes; its requests are neither recorded nor faulty.
//! - `GET received`: totals, events per visitor, requests; `?visitor=ID`: one visitor's events. `DELETE` clears.
//! - `GET faults`: what is pending. `POST` adds a list, `DELETE` drops all. The JSON is that of [`Fault`]:
//!   `[{"route": "config" | "track" | "both", "times": 2, "chance": {"probability": 0.5, "seed": 7}, "fault": …}]`
//!   with `sdk_key`, `times` and `chance` optional and a `fault` such as `"hang"`, `{"delay": {"ms": 200}}` or
//!   `{"status": {"status": 429, "retry_after": 5}}`, named as in [`FaultKind`].
//! - `GET projects`: ids, keys, file and number of experiences of each project.
//!
//! # What it does not do
//!
//! It evaluates nothing and knows nothing of the SDK. Only HTTP/1.1 is spoken, as faults act on connections.

mod admin;
mod answer;
mod at;
mod bomb;
mod builder;
mod certificate;
mod config;
mod config_route;
mod emulator;
mod envelope;
mod error;
mod exchange;
mod fault;
mod head;
mod port;
mod project;
mod projects;
mod received;
mod recorder;
mod route;
mod script;
mod server;
mod socket;
mod state;
mod strict_json;
mod track_route;

pub use builder::EmulatorBuilder;
pub use certificate::{CertificateAuthority, ServerCertificate};
pub use emulator::Emulator;
pub use error::{ConfigError, StartError, WaitTimeout};
pub use fault::{Fault, FaultKind, RetryAfter};
pub use project::Project;
pub use received::{EventData, Received, ReceivedEvent, ReceivedRequest, RouteKind, Totals};
