//! A local stand-in for Convert's config CDN and metrics endpoint.
//!
//! It serves any number of projects over real HTTPS, with its own certificate authority, and over plain HTTP, both on
//! 127.0.0.1. It validates every tracking payload field by field, records what arrives, and fails on purpose when told
//! to. As a library it starts on free ports within a test, on its own thread, so the test needs no async code; the
//! `convert-emulator` program is the same for everything else.
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
//! Both listeners serve all of them, over HTTP/1.1. An SDK key may contain a slash; a project also responds to
//! `{account_id}/{project_id}`. Any path may precede a route, as base URLs carry versions and ids. A message with both
//! `Content-Length` and `Transfer-Encoding`, or an HTTP/1.1 request without exactly one `Host`, gets 400.
//!
//! **`GET /api/v1/config/{sdkKey}`** returns the config, byte for byte as given unless something is filtered out, with
//! a strong `ETag`, `If-None-Match` (304) and gzip.
//! - `environment=`: an experience whose `environment` is set and differs is left out.
//! - `exp=`: all other experiences are left out. Without it, experiences whose `status` is set and not `active`
//!   (`draft`, `paused`, `completed`) are left out, as by Convert, so a preview has to fetch them on their own.
//! - `_conv_low_cache=` and `debug_token=` are accepted and ignored.
//! - 404 for an unknown key; with a [secret](Project::secret), 401 without `Authorization`, 403 with a wrong one.
//!
//! **`POST …/track/{sdkKey}`** accepts a payload, responds `{"status":"ok"}` and records its events.
//! - 400 `{"error": "…", "path": "visitors[0].events[2].data.goalId"}` for the first field that is invalid, missing,
//!   unknown or duplicated; for an id that no config served so far has; for a duplicate visitor; for a `Content-Type`
//!   other than `application/json` and for any `Authorization` (path `headers.…`), since the secret must never go there.
//! - 404 for an unknown key, 413 above [`max_body`](EmulatorBuilder::max_body).
//! - 200 without recording if `User-Agent` does not start with `ConvertAgent/1.0`, as the real endpoint silently drops
//!   such events; they are counted as [`dropped_as_bot`](Totals::dropped_as_bot). A browser sends its own, and passes.
//!
//! A page of any origin may read the answers of both (`Access-Control-Allow-Origin: *`). The preflights of a browser are
//! answered, but not recorded and not subject to faults.
//!
//! **`/__admin/`** is for people and other processes; its requests are not recorded and not subject to faults. It
//! answers only under a loopback host name, and only to its own origin if a browser asks.
//! - `GET` of the folder itself: a page that shows what is served and received, injects faults, edits configs and
//!   explains decisions.
//! - `GET received`: totals, events per visitor, requests; `?visitor=ID`: one visitor's events. `DELETE` clears.
//! - `GET faults`: what is pending. `POST` adds a list, `DELETE` drops all. The JSON is that of [`Fault`]:
//!   `[{"route": "config" | "track" | "both", "times": 2, "chance": {"probability": 0.5, "seed": 7}, "fault": …}]`
//!   with `sdk_key`, `times` and `chance` optional and a `fault` such as `"hang"`, `{"delay": {"ms": 200}}` or
//!   `{"status": {"status": 429, "retry_after": 5}}`, named as in [`FaultKind`].
//! - `GET projects`: ids, keys, file and number of experiences of each project.
//!
//! # What it does not do
//!
//! The two public routes evaluate nothing and know nothing about the SDK; only the page decides. It supports only HTTP/1.1, as faults act on connections.

mod admin;
mod answer;
mod at;
mod bomb;
mod builder;
mod certificate;
mod config;
mod config_route;
mod cors;
mod emulator;
mod envelope;
mod error;
mod exchange;
mod fault;
mod guard;
mod head;
mod page;
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
mod tally;
mod track_route;

pub use builder::EmulatorBuilder;
pub use certificate::{CertificateAuthority, ServerCertificate};
pub use emulator::Emulator;
pub use error::{ConfigError, StartError, WaitTimeout};
pub use fault::{Fault, FaultKind, RetryAfter};
pub use project::Project;
pub use received::{EventData, Received, ReceivedEvent, ReceivedRequest, RouteKind, Totals};
