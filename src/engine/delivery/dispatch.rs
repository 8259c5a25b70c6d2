//! What is sent next, and what the end of an attempt leads to.

use std::time::Duration;

use super::held::Held;
use super::isolation::Isolation;
use super::pacer::{Allowance, Pacer};
use super::remedy::{Remedy, may_have_arrived, remedy};
use super::{BatchId, CutLimit, InFlight, Parcel};
use crate::engine::{BreakerState, ByClass, Jitter, Moment};
use crate::options::DeliveryConfig;
use crate::ports::DeliveryFailure;

/// Events in a delivery that probes whether a failing endpoint works again.
const PROBE_EVENTS: usize = 50;

/// After this many refused requests in a row, others have their turn.
const MOST_IN_A_ROW: u32 = 2;
/// Once culprits were found in a row, this many requests are to be accepted until that is over.
const WARY: u32 = 16;
/// With this many groups that have a culprit, attempts elsewhere make no further ones.
const MOST_GROUPS: usize = 8;

/// Fills the lanes to one endpoint with requests as large and as frequent as the endpoint accepts.
pub struct Dispatch<P> {
    lanes: usize,
    max_request_events: usize,
    /// Halved when the endpoint finds a request too large, doubled by each success.
    request: CutLimit,
    pacer: Pacer,
    isolation: Isolation<P>,
    held: Held<P>,
    in_flight: InFlight,
    next_attempt: u64,
    /// The endpoint refuses requests whatever they contain.
    refusing: bool,
    /// The endpoint has refused a whole request because of one parcel.
    isolates: bool,
    /// Parcels refused on their own since the endpoint last accepted any.
    refused_in_a_row: u32,
    /// Requests refused because of what they carry since the endpoint last accepted any.
    requests_in_a_row: u32,
    /// How many requests are to be accepted, other than elsewhere, until culprits are few again.
    wary: u32,
    /// The latest attempt that was made elsewhere.
    elsewhere: Option<u64>,
}

/// What a failed attempt leaves behind.
pub struct Failure<P> {
    /// To be kept for a retry.
    pub retry: Vec<P>,
    /// Refused by the endpoint for good.
    pub rejected: Vec<P>,
    /// The endpoint is to be left alone for a while: it has failed, or refused too many in a row.
    pub pauses: bool,
    /// The endpoint may have accepted the parcels although no answer arrived.
    pub fate_unknown: bool,
    /// The status with which the endpoint has started to refuse everything.
    pub begins_to_refuse: Option<Option<u16>>,
    /// This parcel, or an earlier one, may be why attempts fail; later ones need not wait for it.
    pub pass_by: Option<u64>,
}

impl<P: Parcel> Dispatch<P> {
    /// A machine with nothing in flight.
    #[must_use]
    pub fn new(delivery: &DeliveryConfig, jitter: Jitter) -> Self {
        Self {
            lanes: delivery.lanes,
            max_request_events: delivery.max_request_events,
            request: CutLimit {
                events: delivery.max_request_events,
                bytes: delivery.max_request_bytes,
                elsewhere: false,
            },
            pacer: Pacer::new(delivery, jitter),
            isolation: Isolation::new(),
            held: Held::new(None),
            in_flight: InFlight::default(),
            next_attempt: 0,
            refusing: false,
            isolates: false,
            refused_in_a_row: 0,
            requests_in_a_row: 0,
            wary: 0,
            elsewhere: None,
        }
    }

    /// The same, for an endpoint that takes each request once by its id, which begins with this: one that it may have
    /// taken goes again as it was.
    pub(crate) fn numbered(self, origin: u128) -> Self {
        Self { held: Held::new(Some(origin)), ..self }
    }

    /// When the endpoint may be tried again; `None` means at once.
    #[must_use]
    pub fn until(&self) -> Option<Moment> {
        self.pacer.until()
    }

    pub(crate) const fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    pub(crate) const fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// The number of the next attempt.
    pub(crate) const fn next_attempt(&self) -> u64 {
        self.next_attempt
    }

    /// The state of the circuit breaker.
    #[must_use]
    pub const fn breaker(&self) -> BreakerState {
        self.pacer.state(self.in_flight.attempts())
    }

    /// Begins the next attempt if one may begin now, given that the endpoint is left alone until `until`: with half of
    /// a group that has a culprit, with a request that has to be sent again, or with what `cut` takes. While parcels
    /// are refused in a row, every other attempt is made [`elsewhere`](CutLimit::elsewhere), at the same pace: what it
    /// carries need not wait until all of a bad sender's are refused one by one, and its success shows that the
    /// endpoint does not refuse everything.
    pub fn next(
        &mut self,
        now: Moment,
        until: Option<Moment>,
        cut: impl FnOnce(CutLimit) -> Vec<P>,
    ) -> Option<(u64, Vec<P>)> {
        let in_flight = self.in_flight.attempts();
        if in_flight >= self.lanes {
            return None;
        }
        let limit = match self.pacer.allows(now, in_flight, until) {
            Allowance::Nothing => return None,
            Allowance::Probe => CutLimit { events: self.request.events.min(PROBE_EVENTS), ..self.request },
            Allowance::One | Allowance::Any => self.request,
        };
        let attempt = self.next_attempt;
        let was_elsewhere = attempt.checked_sub(1).is_some_and(|last| self.elsewhere == Some(last));
        let elsewhere = self.wary > 0
            && self.requests_in_a_row >= MOST_IN_A_ROW
            && !was_elsewhere
            && self.isolation.groups() < MOST_GROUPS;
        let half = if elsewhere { None } else { self.isolation.next_half(attempt) };
        let (mut again, mut parcels) =
            half.unwrap_or_else(|| self.held.next(|| cut(CutLimit { elsewhere, ..limit })));
        if parcels.is_empty() {
            (again, parcels) = self.isolation.next_half(attempt)?;
        }
        if elsewhere {
            self.elsewhere = Some(attempt);
        }
        self.next_attempt += 1;
        self.in_flight.begin(attempt, &parcels);
        self.held.began(attempt, again);
        Some((attempt, parcels))
    }

    /// The id of the request that this attempt makes, if it is [`numbered`](Self::numbered): never that of other parcels.
    pub(crate) fn id(&self, attempt: u64) -> Option<BatchId> {
        self.held.id(attempt)
    }

    /// Takes over a request of another process, which the endpoint may have taken.
    pub(crate) fn hold(&mut self, id: BatchId, parcels: Vec<P>) {
        self.held.hold(id, parcels);
    }

    /// Ends an attempt, whatever its result; returns how many events it carried.
    pub fn ended(&mut self, attempt: u64) -> u64 {
        self.in_flight.end(attempt)
    }

    /// The attempt was accepted. Returns whether the endpoint may be tried again at once.
    pub fn succeeded(&mut self, attempt: u64) -> bool {
        let may_try = self.pacer.succeeded(attempt);
        self.held.succeeded(attempt);
        (self.refused_in_a_row, self.requests_in_a_row) = (0, 0);
        self.wary = self.wary.saturating_sub(u32::from(self.elsewhere != Some(attempt)));
        if std::mem::take(&mut self.refusing) {
            logged!(info, "the endpoint accepts events again");
        }
        self.request.events = self.request.events.saturating_mul(2).min(self.max_request_events);
        if let Some(rest) = self.isolation.take_rest(attempt) {
            self.isolation.suspect(rest, None);
        }
        may_try
    }

    /// The attempt failed: returns what becomes of its parcels.
    pub fn failed(
        &mut self,
        attempt: u64,
        mut parcels: Vec<P>,
        cause: &DeliveryFailure,
        now: Moment,
    ) -> Failure<P> {
        let rest = self.isolation.take_rest(attempt);
        let again = self.held.failed(attempt, may_have_arrived(cause));
        let mut failure = Failure {
            retry: Vec::new(),
            rejected: Vec::new(),
            pauses: false,
            fate_unknown: false,
            begins_to_refuse: None,
            pass_by: None,
        };
        let retry_after = match cause {
            DeliveryFailure::Refused(refusal) => refusal.retry_after,
            DeliveryFailure::Unknown(_) | DeliveryFailure::NotSent(_) => None,
        };
        match remedy(cause, parcels.len()) {
            Remedy::Drop => {
                let count = parcels.len();
                logged!(warn, limited, "a request cannot be delivered: {cause}; records given up: {count}");
                failure.rejected = parcels;
                failure.retry = rest.unwrap_or_default();
                if matches!(cause, DeliveryFailure::Refused(_)) {
                    self.refused_in_a_row += 1;
                    failure.pauses = self.pause_if_refused(attempt, now, retry_after);
                }
            }
            Remedy::Isolate => {
                if !std::mem::replace(&mut self.isolates, true) {
                    logged!(warn, "the endpoint refused a request: {cause}; splitting it to find the cause");
                }
                failure.retry = rest.unwrap_or_default();
                if parcels.len() == 1 {
                    self.refused_in_a_row += 1;
                    logged!(warn, limited, "the endpoint refused a record; it is given up");
                    failure.rejected = parcels;
                } else {
                    count_try(&mut parcels);
                    self.isolation.suspect(parcels, None);
                }
                failure.pauses = self.pause_if_refused(attempt, now, retry_after);
            }
            Remedy::Split => {
                let events: usize = parcels.iter().map(Parcel::wire_events).sum();
                self.request.events = events.div_ceil(2);
                parcels.extend(rest.unwrap_or_default());
                failure.retry = parcels;
                failure.pauses = self.pause_if_refused(attempt, now, retry_after);
            }
            Remedy::Hold => {
                if !std::mem::replace(&mut self.refusing, true) {
                    logged!(error, "the endpoint refuses events: {cause}; they are kept for now");
                    failure.begins_to_refuse = Some(cause.status());
                }
                self.pacer.refused(self.next_attempt, now, retry_after);
                failure.pauses = true;
                self.keep(parcels, rest, again, &mut failure);
            }
            Remedy::Retry => {
                logged!(warn, limited, "a delivery failed: {cause}; records kept: {}", parcels.len());
                failure.fate_unknown = matches!(cause, DeliveryFailure::Unknown(_));
                self.pacer.failed(attempt, self.next_attempt, now, retry_after);
                failure.pauses = true;
                if may_have_arrived(cause) {
                    failure.pass_by = suspect_all(&mut parcels).filter(|_| again.is_none());
                }
                self.keep(parcels, rest, again, &mut failure);
            }
        }
        count_try(&mut failure.retry);
        failure
    }

    /// Whether it keeps parcels that are waiting to be sent: half of a group that has a culprit, or a request that has to
    /// be sent again.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.isolation.groups() > 0 || !self.held.is_empty()
    }

    /// How many parcels it keeps besides those in flight, which are not in the backlog.
    pub(crate) fn kept(&self) -> usize {
        self.isolation.len() + self.held.len()
    }

    /// Those that wait in requests that have to be sent again.
    pub(crate) fn held(&self) -> impl Iterator<Item = &P> {
        self.held.parcels()
    }

    /// A parcel that it keeps, by its number.
    pub(crate) fn find(&mut self, sequence: u64) -> Option<&mut P> {
        self.isolation.find(sequence).or_else(|| self.held.find(sequence))
    }

    /// When the oldest parcel that it keeps and that is waiting was accepted.
    pub(crate) fn oldest_kept(&self) -> Option<Moment> {
        [self.isolation.oldest_at(), self.held.oldest_at()].into_iter().flatten().min()
    }

    /// From which limit on [`take_older`](Self::take_older) takes any.
    pub(crate) fn first_to_age(&self) -> Option<Moment> {
        [self.isolation.first_to_age(), self.held.first_to_age()].into_iter().flatten().min()
    }

    /// Takes the groups with a parcel accepted at or before `limit`; a request that has to be sent again unchanged, only with
    /// its last one.
    pub(crate) fn take_older(&mut self, limit: Moment) -> Vec<P> {
        self.isolation.take_older(limit).chain(self.held.take_older(limit)).collect()
    }

    /// Takes all that it keeps.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = P> + use<P> {
        self.isolation.drain().chain(self.held.drain())
    }

    /// Stops waiting for attempts to end; returns what was in flight.
    pub(crate) fn abandon(&mut self) -> ByClass {
        self.in_flight.abandon()
    }

    /// An endpoint that has refused several parcels in a row may refuse everything, so there is no point in
    /// hurrying.
    fn pause_if_refused(&mut self, attempt: u64, now: Moment, retry_after: Option<Duration>) -> bool {
        self.requests_in_a_row = self.requests_in_a_row.saturating_add(1);
        let pauses = self.refused_in_a_row > 1;
        if pauses {
            self.wary = WARY;
            self.pacer.failed(attempt, self.next_attempt, now, retry_after);
        }
        pauses
    }

    /// Keeps what a failed attempt carried, and what is still known about the group that it is half of; as it was, if it
    /// has to go `again` under this id.
    fn keep(
        &mut self,
        mut parcels: Vec<P>,
        rest: Option<Vec<P>>,
        again: Option<BatchId>,
        failure: &mut Failure<P>,
    ) {
        if rest.is_none() && again.is_none() {
            failure.retry = parcels;
            return;
        }
        count_try(&mut parcels);
        match (rest, again) {
            (None, Some(id)) => self.held.hold(id, parcels),
            (rest, again) => {
                parcels.extend(rest.unwrap_or_default());
                self.isolation.suspect(parcels, again);
            }
        }
    }
}

fn count_try(parcels: &mut [impl Parcel]) {
    parcels.iter_mut().for_each(Parcel::count_try);
}

/// Any of these may be why the endpoint fails. Returns the last number if one is a repeat suspect.
fn suspect_all(parcels: &mut [impl Parcel]) -> Option<u64> {
    let worst = parcels.iter_mut().map(Parcel::count_suspicion).max()?;
    parcels.iter().map(Parcel::sequence).max().filter(|_| worst > 1)
}
