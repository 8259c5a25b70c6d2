//! A ready-made carrier: the built-in client on threads of its own, one for configs and one for events.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};

use super::{Answer, Pump, Request, RequestId};
use crate::adapters::HttpsClient;
use crate::caught::PanicGuard;
use crate::error::StartError;
use crate::ports::{EventSink, TransportError};
use crate::shared::Shared;
use crate::threads::{generation, start_thread};

/// Carries the requests of a [`Pump`] over HTTPS, for applications that allow the SDK two threads: one fetches configs
/// and previews, the other delivers events, so that neither waits for the other's server. Each starts with its first
/// request; to look up a host or to connect, it starts another one for that moment. The network settings are those of
/// the core's config.
///
/// Each has one request on its way at a time, which thus has its whole time limit; the others wait in the pump, and
/// more than one [lane](crate::delivery::DeliveryConfigBuilder::lanes) gains nothing.
///
/// Dropping it ends the requests on their way and the threads, without waiting for any of them. The pump learns nothing
/// of those requests until their time limits are over, so drop the carrier after [`Pump::shutdown`] was answered.
///
/// # Forks
/// A child can use it as it is: it starts threads of its own and leaves the parent's requests to the parent.
///
/// ```no_run
/// use std::time::Duration;
/// use convert_sdk::pump::Carrier;
/// use convert_sdk::{Core, SdkConfig};
///
/// let config = SdkConfig::game_loop("10035569/10034190");
/// let (core, mut pump) = Core::builder(config.build()?).pumped()?;
/// let mut carrier = Carrier::new(&pump);
/// let mut ready = pump.initialize();
/// let outcome = loop {
///     // A frame.
///     pump.turn(Duration::from_micros(200));
///     carrier.carry(&mut pump);
///     if let Some(outcome) = ready.check() {
///         break outcome;
///     }
/// };
/// outcome?;
/// assert!(core.is_ready());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Carrier {
    /// Another pump has requests with the same numbers.
    pump: Weak<Shared>,
    client: Arc<HttpsClient>,
    guard: PanicGuard,
    /// In the order of [`METHODS`].
    lanes: [Option<Lane>; 2],
    generation: u64,
}

/// What each thread carries: configs, and events.
const METHODS: [&str; 2] = ["GET", "POST"];

/// A thread, and the request that it has.
struct Lane {
    requests: SyncSender<Request>,
    answers: Receiver<Answer>,
    carried: Option<RequestId>,
}

impl Carrier {
    /// A carrier for this pump. Starts no thread and opens no connection.
    #[must_use]
    pub fn new(pump: &Pump) -> Self {
        let shared = pump.core.shared();
        Self {
            pump: Arc::downgrade(shared.whole()),
            client: Arc::new(HttpsClient::new(shared.base.config.transport.clone())),
            guard: shared.base.guard.clone(),
            lanes: [None, None],
            generation: generation(),
        }
    }

    /// Gives the pump the answers that have come, and takes its next requests once none of their kind is on its way. Call
    /// it in each round of the loop, after the turn. Never blocks. Does nothing with a pump that it was not made for.
    pub fn carry(&mut self, pump: &mut Pump) {
        if !std::ptr::eq(self.pump.as_ptr(), Arc::as_ptr(pump.core.shared().whole())) {
            return;
        }
        self.leave_parents();
        for at in 0..METHODS.len() {
            self.carry_of(at, pump);
        }
    }

    fn carry_of(&mut self, at: usize, pump: &mut Pump) {
        if let Some(lane) = &mut self.lanes[at]
            && let Some(id) = lane.carried
        {
            let answer = match lane.answers.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => Answer::lost(TransportError::Panicked),
            };
            lane.carried = None;
            pump.answer(id, answer);
        }
        let Some(request) = pump.next_request_by(METHODS[at]) else { return };
        let id = request.id;
        if let Err(error) = self.send(at, request) {
            logged!(error, "convert-carrier: {error}");
            pump.answer(id, Answer::not_sent(TransportError::Other(error.to_string().into())));
        }
    }

    /// What is on its way.
    fn carried(&self) -> impl Iterator<Item = RequestId> {
        self.lanes.iter().flatten().filter_map(|lane| lane.carried)
    }

    fn send(&mut self, at: usize, request: Request) -> Result<(), StartError> {
        let id = request.id;
        let lane = match self.lanes[at].take() {
            Some(lane) => lane,
            None => Lane::start(&self.client, &self.guard)?,
        };
        // A thread that has ended is replaced by the next request.
        let sent = lane.requests.try_send(request);
        self.lanes[at] = sent.is_ok().then_some(Lane { carried: Some(id), ..lane });
        sent.map_err(|_| StartError(std::io::ErrorKind::BrokenPipe))
    }

    /// In a child: the threads and the requests on their way are the parent's.
    fn leave_parents(&mut self) {
        if self.generation != generation() {
            // The parent's thread may have held a lock of the channels, which nobody opens here.
            std::mem::forget(std::mem::take(&mut self.lanes));
            self.generation = generation();
        }
    }
}

impl Lane {
    fn start(client: &Arc<HttpsClient>, guard: &PanicGuard) -> Result<Self, StartError> {
        // Neither is ever full: a request is sent after the answer to the one before.
        let (requests, inbox) = sync_channel::<Request>(1);
        let (answered, answers) = sync_channel(1);
        let (client, guard) = (Arc::clone(client), guard.clone());
        let run = move || {
            for request in inbox {
                let answer = guard.caught("the transport", || client.carry(request));
                let answer = answer.unwrap_or(Answer::lost(TransportError::Panicked));
                if answered.send(answer).is_err() {
                    return;
                }
            }
        };
        start_thread("convert-carrier", run).map_err(|error| StartError(error.kind()))?;
        Ok(Self { requests, answers, carried: None })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.leave_parents();
        if self.lanes.iter().any(Option::is_some) {
            EventSink::interrupt(&*self.client);
        }
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carried: Vec<_> = self.carried().collect();
        f.debug_struct("Carrier").field("carried", &carried).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use convert_emulator::{Emulator, Fault, FaultKind, Project};

    use super::*;
    use crate::config::TransportConfig;
    use crate::{Core, SdkConfig};

    fn fetching(emulator: &Emulator) -> Pump {
        let network = TransportConfig::builder()
            .config_base_url(emulator.config_url())
            .track_base_url(emulator.track_url())
            .root_certificate_pem(emulator.ca_pem());
        let config = SdkConfig::game_loop(Project::DEMO_SDK_KEY).transport(network.build().unwrap());
        let (_, mut pump) = Core::builder(config.build().unwrap()).pumped().unwrap();
        drop(pump.initialize());
        assert_eq!(pump.turn(Duration::from_secs(1)).requests_started, 1);
        pump
    }

    #[test]
    fn a_dropped_carrier_ends_its_request_and_its_thread() {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        emulator.inject(Fault::both(FaultKind::Hang));
        let mut pump = fetching(&emulator);
        let mut carrier = Carrier::new(&pump);
        carrier.carry(&mut pump);
        assert_eq!(carrier.carried().count(), 1);
        // The thread has the client as long as it runs.
        let client = Arc::downgrade(&carrier.client);
        drop(carrier);
        let deadline = Instant::now() + Duration::from_secs(5);
        while client.strong_count() > 0 {
            assert!(Instant::now() < deadline, "a request of 10 s goes on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_carrier_leaves_another_pump_alone() {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        let (mut own, mut other) = (fetching(&emulator), fetching(&emulator));
        let mut carrier = Carrier::new(&own);
        carrier.carry(&mut other);
        assert_eq!(carrier.carried().count(), 0);
        carrier.carry(&mut own);
        assert!(
            carrier.carried().count() == 1 && own.next_request().is_none() && other.next_request().is_some()
        );
    }
}
