//! Drives the machine: reads and takes over entries, delivers them on threads, settles them, and keeps those
//! it holds from looking abandoned.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use convert_sdk::machine::{Jitter, Moment};
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::machine::{Consumer, Ended, Entry, Settlement};
use crate::keys::Key;
use crate::store::{Reader, START, Store, StoreError};

/// The wait before a retry when Redis fails.
const RETRY: Duration = Duration::from_millis(200);
/// How long what is delivered may take to be settled when the relay stops, and then what is left to be marked.
const SETTLING: Duration = Duration::from_secs(5);
/// The most entries that one command touches.
const TOUCHED: usize = 256;

/// The identity and settings of one relay in the group.
pub(crate) struct Membership {
    pub(crate) consumer: String,
    /// Entries untouched for this long are taken over.
    pub(crate) takeover: Duration,
    /// The most rejected events that are set aside per key.
    pub(crate) refusals: u64,
    pub(crate) held_bytes: usize,
    pub(crate) request_timeout: Duration,
}

enum Fetch {
    New,
    Abandoned,
}

enum Happened {
    Entries {
        entries: Vec<Entry>,
        taken_over: bool,
        /// The look for abandoned entries has not reached the end of the list.
        has_more: bool,
    },
    Answer(u64, Result<Receipt, DeliveryFailure>),
    Settled(Vec<u64>),
    Lost(Vec<String>),
}

/// Consumes one key's stream until told to stop; then waits for requests in flight, and leaves the rest to
/// other relays.
pub(crate) async fn run(
    key: Arc<Key>,
    store: Store,
    reader: Reader,
    member: Arc<Membership>,
    mut stop: watch::Receiver<bool>,
) {
    let mut machine = Consumer::new(&key.delivery, Jitter::random(), member.held_bytes);
    let origin = Instant::now();
    let now = || Moment::after_origin(origin.elapsed());
    let (happened, mut inbox) = mpsc::unbounded_channel();
    let (fetches, to_fetch) = mpsc::channel(1);
    let (settlements, to_settle) = mpsc::unbounded_channel();
    let (touches, to_touch) = mpsc::channel(1);
    // Aborted when this future is dropped.
    let (mut helpers, mut touching) = (JoinSet::new(), JoinSet::new());
    let alarm = || key.alarm.clone();
    let fetching = fetch(Arc::clone(&key), reader, member.takeover, to_fetch, happened.clone());
    helpers.spawn(alarm().guard(fetching));
    let settling = settle(Arc::clone(&key), store.clone(), member.refusals, to_settle, happened.clone());
    helpers.spawn(alarm().guard(settling));
    let keeping = touch(Arc::clone(&key), store, Arc::clone(&member), to_touch, happened.clone());
    touching.spawn(alarm().guard(keeping));
    let mut tick = interval(member.takeover / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_fetching, mut looks_for_abandoned) = (false, true);
    // The channels stay short only because `held_bytes` bounds how much is unsettled.
    let mut deadline: Option<Instant> = None;
    loop {
        if deadline.is_none() {
            while let Some(sending) = machine.next(now()) {
                let (key, happened, limit) = (Arc::clone(&key), happened.clone(), member.request_timeout);
                tokio::task::spawn_blocking(move || {
                    let _raised = key.alarm.clone().raised_by_panic();
                    let batch = EventBatch::new(
                        &key.sdk_key,
                        &sending.project_id,
                        sending.events,
                        &sending.body,
                        limit,
                    );
                    let _ = happened.send(Happened::Answer(sending.attempt, key.upstream.deliver(&batch)));
                });
            }
            let unreadable = machine.take_unreadable();
            key.meters.unaccepted.fetch_add(unreadable.len() as u64, Relaxed);
            send_all(&settlements, unreadable);
            if !is_fetching && machine.has_room() {
                let fetch =
                    if std::mem::take(&mut looks_for_abandoned) { Fetch::Abandoned } else { Fetch::New };
                is_fetching = fetches.try_send(fetch).is_ok();
            }
        } else if machine.in_flight() == 0 && !is_fetching && !machine.has_unsettled() {
            break;
        }
        let wake = deadline.or_else(|| origin.checked_add(machine.until()?.since_origin()));
        tokio::select! {
            Some(event) = inbox.recv() => match event {
                Happened::Entries { entries, taken_over, has_more } => {
                    is_fetching = false;
                    looks_for_abandoned |= has_more;
                    if taken_over && !entries.is_empty() {
                        key.meters.taken_over.fetch_add(entries.len() as u64, Relaxed);
                        log::warn!("entries of another relay taken over: {}", entries.len());
                    }
                    machine.take(entries, now());
                }
                Happened::Answer(attempt, answer) => {
                    count(&key, answer.as_ref().err());
                    let ended = machine.ended(attempt, answer, now());
                    account(&key, &ended);
                    send_all(&settlements, ended.settled);
                }
                Happened::Settled(entries) => machine.settled(&entries),
                Happened::Lost(ids) => machine.lost(&ids),
            },
            _ = tick.tick() => {
                looks_for_abandoned = true;
                // If the last round is not over, Redis is not answering, and another one is pointless.
                let _ = touches.try_send((machine.in_hand().map(str::to_owned).collect(), Duration::ZERO));
            }
            () = sleep_until(wake.unwrap_or(origin)), if wake.is_some() => {
                if deadline.is_some() {
                    break;
                }
            }
            _ = stop.changed(), if deadline.is_none() => {
                // An abandoned request might arrive nevertheless, and would be sent again.
                deadline = Some(Instant::now() + member.request_timeout + SETTLING);
            }
        }
        key.meters.in_hand.store(machine.entries() as u64, Relaxed);
    }
    // So that other relays need not wait until these look abandoned.
    helpers.abort_all();
    let in_hand = machine.in_hand().map(str::to_owned).collect();
    let leave = async {
        let _ = touches.send((in_hand, member.takeover)).await;
        drop(touches);
        touching.join_next().await
    };
    let _ = timeout(SETTLING, leave).await;
}

fn send_all(settlements: &mpsc::UnboundedSender<Settlement>, settled: Vec<Settlement>) {
    for settlement in settled {
        let _ = settlements.send(settlement);
    }
}

fn count(key: &Key, failure: Option<&DeliveryFailure>) {
    key.meters.requests.fetch_add(1, Relaxed);
    if let Some(failure) = failure {
        key.meters.failed_requests.fetch_add(1, Relaxed);
        if matches!(failure, DeliveryFailure::NotSent(TransportError::InvalidRequest)) {
            log::error!("the SDK key or a project's id cannot be part of a URL");
        }
    }
}

fn account(key: &Key, ended: &Ended) {
    key.meters.delivered.fetch_add(ended.delivered as u64, Relaxed);
    key.meters.unaccepted.fetch_add(ended.unaccepted as u64, Relaxed);
    key.meters.fate_unknown.fetch_add(u64::from(ended.fate_unknown), Relaxed);
    if ended.unkept > 0 {
        key.meters.unkept.fetch_add(ended.unkept as u64, Relaxed);
        log::error!("refused events that would take too much room are lost: {}", ended.unkept);
    }
}

/// Reads or takes over on request.
async fn fetch(
    key: Arc<Key>,
    reader: Reader,
    takeover: Duration,
    mut asked: mpsc::Receiver<Fetch>,
    happened: mpsc::UnboundedSender<Happened>,
) {
    // After an outage of Redis or a jump of its clock, owners get time to touch their entries before any are taken
    // over.
    let (origin, mut clock) = (Instant::now(), Clock::default());
    let (mut calm_since, mut errors) = (origin, 0);
    let (mut forgets, mut ages, mut from) = (true, true, START.to_owned());
    while let Some(fetch) = asked.recv().await {
        let taken_over = matches!(fetch, Fetch::Abandoned);
        let seen = std::mem::replace(&mut errors, key.meters.store_errors.load(Relaxed));
        if seen != errors {
            calm_since = Instant::now();
        }
        if taken_over {
            let told = reader.clock().await;
            if told.is_ok_and(|told| clock.has_jumped(told, origin.elapsed(), takeover / 4)) {
                log::warn!("Redis's clock has jumped");
                (calm_since, ages) = (Instant::now(), true);
            }
            ages = ages && age(&key, &reader).await.is_err();
        }
        let is_calm = calm_since.elapsed() >= takeover;
        let read = if !taken_over {
            reader.read(&key.sdk_key).await
        } else if is_calm {
            if std::mem::take(&mut forgets) {
                let _ = reader.forget_consumers(&key.sdk_key).await;
            }
            reader.take_over(&key.sdk_key, takeover, &from).await.map(|(read, next)| {
                from = next;
                read
            })
        } else {
            Ok(Vec::new())
        };
        let entries = match read {
            Ok(read) => read,
            Err(error) => {
                trouble(&key, &error);
                sleep(RETRY).await;
                Vec::new()
            }
        };
        let has_more = taken_over && is_calm && from != START;
        if happened.send(Happened::Entries { entries, taken_over, has_more }).is_err() {
            return;
        }
    }
}

/// Lets all entries that were touched in the future of Redis's clock begin to age.
async fn age(key: &Key, reader: &Reader) -> Result<(), StoreError> {
    let mut from = Some("-".to_owned());
    while let Some(begin) = from {
        from = reader.age(&key.sdk_key, &begin).await?;
    }
    Ok(())
}

/// How far Redis's clock is from this relay's own, which never jumps.
#[derive(Default)]
struct Clock(Option<i128>);

impl Clock {
    fn has_jumped(&mut self, redis: Duration, own: Duration, tolerance: Duration) -> bool {
        let offset = redis.as_millis() as i128 - own.as_millis() as i128;
        let known = self.0.replace(offset);
        known.is_some_and(|known| known.abs_diff(offset) > tolerance.as_millis())
    }
}

/// Settles, retrying until Redis has done it: until then the entries stay in the stream, and would be sent
/// again.
async fn settle(
    key: Arc<Key>,
    store: Store,
    keep: u64,
    mut asked: mpsc::UnboundedReceiver<Settlement>,
    happened: mpsc::UnboundedSender<Happened>,
) {
    let mut settled = Vec::new();
    while asked.recv_many(&mut settled, TOUCHED).await > 0 {
        let unkept = loop {
            match store.settle(&key.sdk_key, &settled, keep).await {
                Ok(unkept) => break unkept,
                Err(error) => trouble(&key, &error),
            }
            sleep(RETRY).await;
        };
        if unkept > 0 {
            key.meters.unkept.fetch_add(unkept, Relaxed);
            log::error!("refused events that Redis would not keep aside are lost: {unkept}");
        }
        let done = settled.drain(..).map(|settlement| settlement.number).collect();
        let _ = happened.send(Happened::Settled(done));
    }
}

/// Touches the entries that are held.
async fn touch(
    key: Arc<Key>,
    store: Store,
    member: Arc<Membership>,
    mut asked: mpsc::Receiver<(Vec<String>, Duration)>,
    happened: mpsc::UnboundedSender<Happened>,
) {
    while let Some((ids, idle)) = asked.recv().await {
        for ids in ids.chunks(TOUCHED) {
            match store.touch(&key.sdk_key, &member.consumer, ids, idle).await {
                Ok(lost) if lost.is_empty() => {}
                Ok(lost) => {
                    let _ = happened.send(Happened::Lost(lost));
                }
                Err(error) => trouble(&key, &error),
            }
        }
    }
}

fn trouble(key: &Key, error: &StoreError) {
    key.meters.store_errors.fetch_add(1, Relaxed);
    log::warn!("a consumer: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_jumps_when_it_goes_on_differently_from_the_own() {
        let mut clock = Clock::default();
        let mut jumps = |redis, own| {
            clock.has_jumped(Duration::from_secs(redis), Duration::from_secs(own), Duration::from_secs(7))
        };
        assert!(!jumps(1_000_000, 1), "nothing to compare with");
        assert!(!jumps(1_000_040, 37), "three seconds are a slow reply");
        assert!(jumps(1_003_640, 37), "an hour forward");
        assert!(!jumps(1_003_650, 47));
        assert!(jumps(999_000, 57), "back");
        assert!(!jumps(999_010, 67));
    }
}
