//! A pump's requests: waiting to be handed out, handed out, and answered.

use std::collections::{BTreeMap, VecDeque};

use super::request::{Answer, Answered, Request, RequestId};
use crate::engine::Moment;
use crate::http::HttpRequest;
use crate::ports::TransportError;
use crate::telemetry::Timer;
use crate::threads::{Sent, Wanted};

/// What a request is for.
pub(super) enum Purpose {
    /// The config, and whether the request has an ETag.
    Config {
        conditional: bool,
        timer: Timer,
    },
    Preview(Wanted),
    Delivery(Sent),
}

/// A handful of requests at a time: one for the config, one for a preview, and one per lane.
#[derive(Default)]
pub(super) struct Exchange {
    waiting: VecDeque<(Request, Purpose)>,
    /// By id, with their deadlines.
    out: BTreeMap<u64, (Moment, Purpose)>,
    answered: VecDeque<(Purpose, Answered)>,
    next_id: u64,
    /// Refuses requests that are not handed out yet.
    interrupted: bool,
}

impl Exchange {
    /// For a forked child: none of the parent's requests, and no id that they use.
    pub(super) fn after(parents: &Self) -> Self {
        Self { next_id: parents.next_id, ..Self::default() }
    }

    /// Takes a request, and returns whether it can be handed out.
    pub(super) fn begin(
        &mut self,
        method: &'static str,
        asked: &HttpRequest<'_>,
        body: Vec<u8>,
        purpose: Purpose,
    ) -> bool {
        let request = Request::new(self.next_id, method, asked, body);
        self.next_id += 1;
        if self.interrupted {
            self.answered.push_back((purpose, Answered::NotSent(TransportError::Interrupted)));
        } else {
            self.waiting.push_back((request, purpose));
        }
        !self.interrupted
    }

    /// Hands out the next request that is `wanted`, whose time limit starts now.
    pub(super) fn hand_out(
        &mut self,
        wanted: impl Fn(&Request) -> bool,
        now: impl FnOnce() -> Moment,
    ) -> Option<Request> {
        let at = self.waiting.iter().position(|(request, _)| wanted(request))?;
        let (request, purpose) = self.waiting.remove(at)?;
        self.out.insert(request.id.0, (now() + request.timeout, purpose));
        Some(request)
    }

    /// Takes an answer, and returns whether one was expected.
    pub(super) fn answer(&mut self, RequestId(id): RequestId, Answer(answered): Answer) -> bool {
        let purpose = self.out.remove(&id).map(|(_, purpose)| purpose);
        let waited = purpose.is_some();
        self.answered.extend(purpose.map(|purpose| (purpose, answered)));
        waited
    }

    /// When the next handed-out request times out.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.out.values().map(|(deadline, _)| *deadline).min()
    }

    /// The next request that has ended: answered or timed out.
    pub(super) fn next_ended(&mut self, now: Moment) -> Option<(Purpose, Answered)> {
        self.answered.pop_front().or_else(|| {
            let late = self.out.iter().find(|(_, (deadline, _))| *deadline <= now).map(|(id, _)| *id)?;
            let (_, purpose) = self.out.remove(&late)?;
            Some((purpose, Answered::Lost(TransportError::Timeout("waiting for the answer"))))
        })
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answered.is_empty()
    }

    pub(super) const fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Ends all requests, present and future.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = true;
        let waiting = self.waiting.drain(..).map(|(_, purpose)| purpose);
        let unsent = waiting.map(|purpose| (purpose, Answered::NotSent(TransportError::Interrupted)));
        self.answered.extend(unsent);
        let out = std::mem::take(&mut self.out).into_values().map(|(_, purpose)| purpose);
        self.answered.extend(out.map(|purpose| (purpose, Answered::Lost(TransportError::Interrupted))));
    }
}
