//! One request from arrival to response: record, faults, route, log line.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use crate::admin::answer_admin;
use crate::answer::Answer;
use crate::config_route::{ConfigRequest, answer_config};
use crate::cors::{open, preflight};
use crate::fault::{FaultKind, Met};
use crate::guard::AdminRequest;
use crate::head::HeadWatch;
use crate::received::{ReceivedRequest, RouteKind};
use crate::route::{Route, find_route};
use crate::script::{BrokenOff, Script};
use crate::socket::ResetSwitch;
use crate::state::State;
use crate::track_route::{Judged, TrackRequest, answer_track, judge_track};

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) https: bool,
    pub(crate) switch: ResetSwitch,
    pub(crate) head: HeadWatch,
}

/// A request that has been read to its end.
struct Exchange {
    state: Arc<State>,
    connection: Connection,
    parts: Parts,
    body: ReadBody,
    route: RouteKind,
    sdk_key: String,
    /// What is wrong with the head; makes the response 400 on every route.
    framing: Option<&'static str>,
    /// The verdict on a payload, on the tracking route.
    judged: Option<Judged>,
    number: u64,
}

/// A body, kept up to the limit and counted to its end.
#[derive(Default)]
struct ReadBody {
    kept: Vec<u8>,
    size: u64,
    is_too_large: bool,
    /// The connection ended first, or the body's transfer coding was invalid.
    is_cut_off: bool,
}

/// Responds to one request; an error closes the connection without a response.
pub(crate) async fn answer(
    state: Arc<State>,
    connection: Connection,
    request: Request<Incoming>,
) -> Result<Response<Script>, BrokenOff> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let framing = connection.head.flaw(&parts);
    let body = read_body(body, state.max_body).await;
    let route = find_route(parts.uri.path(), &mut state.projects());
    let (route, sdk_key) = match route {
        Route::Public(route, sdk_key) => {
            if let (Some(answer), None) = (preflight(&parts), framing) {
                return Ok(answer.plain(&connection.switch));
            }
            (route, sdk_key)
        }
        Route::Admin(_) | Route::Slashless if body.is_cut_off => return Err(BrokenOff),
        Route::Slashless => {
            let answer =
                framing.map_or_else(Answer::to_page, |flaw| Answer::error(StatusCode::BAD_REQUEST, flaw));
            return Ok(answer.plain(&connection.switch));
        }
        Route::Admin(resource) => {
            let answer = match framing {
                Some(flaw) => Answer::error(StatusCode::BAD_REQUEST, flaw),
                None if body.is_too_large => Answer::too_large(),
                None => {
                    let (method, headers, query) = (&parts.method, &parts.headers, parts.uri.query());
                    let (https, body) = (connection.https, body.kept.as_slice());
                    let request = AdminRequest { method, resource: &resource, query, headers, https, body };
                    answer_admin(&state, &request).await
                }
            };
            return Ok(answer.plain(&connection.switch));
        }
    };
    let judged = (route == RouteKind::Track && !body.is_cut_off).then(|| {
        let (method, headers) = (&parts.method, &parts.headers);
        judge_track(&state, &TrackRequest { method, sdk_key: &sdk_key, headers, body: &body.kept })
    });
    let flaw = match (&judged, framing) {
        _ if body.is_cut_off => Some("the body ended early".to_owned()),
        (_, Some(framing)) => Some(framing.to_owned()),
        (Some(Judged::Wrong(field)), None) if !body.is_too_large => Some(field.to_string()),
        _ => None,
    };
    let number = state.recorder.arrived(describe(&parts, &connection, &body, route, flaw));
    let exchange = Exchange { state, connection, parts, body, route, sdk_key, framing, judged, number };
    let mut answered = exchange.answer_with_faults().await;
    if let Ok(response) = &mut answered {
        open(&exchange.parts.headers, response.headers_mut());
    }
    let status = answered.as_ref().ok().map(|response| response.status().as_u16());
    exchange.state.recorder.answered(number, status);
    exchange.log(status, started.elapsed());
    answered
}

impl Exchange {
    async fn answer_with_faults(&self) -> Result<Response<Script>, BrokenOff> {
        if self.body.is_cut_off {
            return Err(BrokenOff);
        }
        let events = match &self.judged {
            Some(Judged::Taken(events)) => events.as_slice(),
            _ => &[],
        };
        let met = Met { route: self.route, sdk_key: &self.sdk_key, events };
        let faults = self.state.faults().take(&met);
        for fault in &faults {
            self.state.recorder.fault_applied(self.number, fault.name());
            match fault {
                FaultKind::Delay { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
                FaultKind::Hang => {
                    self.state.log(&format!("{} hangs on purpose", self.title()));
                    pending::<()>().await;
                }
                FaultKind::Reset => return Err(self.reset()),
                FaultKind::DropAfterRecording => {
                    let answer = self.ordinary_answer(true);
                    // An invalid payload is reported even under a fault: a client bug must show.
                    return if answer.status.is_success() {
                        Err(self.reset())
                    } else {
                        Ok(answer.plain(&self.connection.switch))
                    };
                }
                _ => return Ok(self.faulty_answer(fault)),
            }
        }
        Ok(self.ordinary_answer(true).plain(&self.connection.switch))
    }

    fn faulty_answer(&self, fault: &FaultKind) -> Response<Script> {
        match Answer::instead(fault) {
            Some(instead) if instead.status.is_success() => {
                let ordinary = self.ordinary_answer(false);
                let answer = if ordinary.status.is_success() { instead } else { ordinary };
                answer.plain(&self.connection.switch)
            }
            Some(instead) => instead.plain(&self.connection.switch),
            None => {
                let ordinary = self.ordinary_answer(false);
                if ordinary.status.is_success() {
                    ordinary.corrupted(fault, &self.connection.switch)
                } else {
                    ordinary.plain(&self.connection.switch)
                }
            }
        }
    }

    fn ordinary_answer(&self, may_be_unchanged: bool) -> Answer {
        if self.body.is_too_large {
            return Answer::too_large();
        }
        if let Some(flaw) = self.framing {
            if self.route == RouteKind::Track {
                self.state.recorder.refused();
            }
            return Answer::error(StatusCode::BAD_REQUEST, flaw);
        }
        match self.route {
            RouteKind::Config => {
                let request = ConfigRequest {
                    method: &self.parts.method,
                    sdk_key: &self.sdk_key,
                    query: self.parts.uri.query(),
                    headers: &self.parts.headers,
                    may_be_unchanged,
                };
                answer_config(&self.state, &request)
            }
            RouteKind::Track => match &self.judged {
                Some(judged) => answer_track(&self.state, &self.parts.headers, self.number, judged),
                None => Answer::error(StatusCode::BAD_REQUEST, "the body ended early"),
            },
            RouteKind::Unknown => Answer::error(StatusCode::NOT_FOUND, "no such route"),
        }
    }

    fn reset(&self) -> BrokenOff {
        self.connection.switch.turn_on();
        BrokenOff
    }

    fn log(&self, status: Option<u16>, took: Duration) {
        let status = status.map_or_else(|| "reset".to_owned(), |status| status.to_string());
        let events = self.state.recorder.events_in(self.number);
        let (title, took) = (self.title(), took.as_millis());
        self.state.log(&format!("{title} {status} {events} events {took} ms"));
    }

    /// Method and path, and of the query only what is not secret.
    fn title(&self) -> String {
        let query: Vec<String> = self
            .parts
            .uri
            .query()
            .map_or_else(Vec::new, |query| query.split('&').map(mask_unless_public).collect());
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.parts.method, self.parts.uri.path(), query.join("&"))
    }
}

fn mask_unless_public(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if !matches!(name, "environment" | "exp" | "_conv_low_cache") => {
            format!("{name}=***")
        }
        _ => pair.to_owned(),
    }
}

fn describe(
    parts: &Parts,
    connection: &Connection,
    body: &ReadBody,
    route: RouteKind,
    flaw: Option<String>,
) -> ReceivedRequest {
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    ReceivedRequest {
        number: 0,
        connection: connection.number,
        https: connection.https,
        route,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: headers.collect(),
        body_size: body.size,
        body: String::from_utf8_lossy(&body.kept).into_owned(),
        flaw,
        events: 0,
        status: None,
        faults: Vec::new(),
    }
}

/// Reads to the end even past the limit: closing with unread bytes would reset the connection before the 413 arrives.
async fn read_body(mut body: Incoming, limit: usize) -> ReadBody {
    let mut read = ReadBody::default();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else {
            read.is_cut_off = true;
            break;
        };
        let Some(data) = frame.data_ref() else { continue };
        read.size += data.len() as u64;
        read.is_too_large = read.size > limit as u64;
        if !read.is_too_large {
            read.kept.extend_from_slice(data);
        }
    }
    read
}
