//! What clients were told, compared with the emulator's record.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use convert_emulator::{Emulator, EventData, Received};

/// Longer than a drain takes.
const LONG: Duration = Duration::from_secs(120);

/// What one client was told about its visitors, each of whom has two events.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) language: &'static str,
    pub(crate) acknowledged: Vec<String>,
    /// The package gave up on these.
    pub(crate) dropped: usize,
    /// Requests with these failed before one succeeded, so that the client sent them more than once.
    pub(crate) again: HashSet<String>,
}

impl Told {
    /// Takes one line of the client, and tells how many visitors were acknowledged.
    pub(crate) fn take(&mut self, line: &str) -> usize {
        let mut words = line.split(' ').map(str::to_owned);
        let (word, how) = (words.next().unwrap(), words.next().unwrap());
        let visitors: Vec<String> = words.collect();
        let count = visitors.len();
        match word.as_str() {
            "acknowledged" => {
                if how == "again" {
                    self.again.extend(visitors.iter().cloned());
                }
                self.acknowledged.extend(visitors);
                count
            }
            "dropped" => {
                self.dropped += count;
                0
            }
            _ => panic!("{line}"),
        }
    }
}

/// Prints the account, and panics if anything acknowledged is lost, or if any event arrived again without a reason: its
/// request was not answered, a relay ended before Redis knew of the answer (`unsettled`), or a client sent it again.
pub(crate) fn settle(told: &[Told], convert: &Emulator, unsettled: &[RangeInclusive<u64>]) {
    let expected: Vec<&str> = told.iter().flat_map(|told| &told.acknowledged).map(String::as_str).collect();
    let complete = convert.wait_until(LONG, |received| {
        received.totals.events >= 2 * expected.len() as u64 && lost(&expected, &arrived(received)) == 0
    });
    let received = complete.unwrap_or_else(|_| convert.received());
    let arrived = arrived(&received);
    for told in told {
        println!(
            "{}: visitors acknowledged {}, of these only after a failed request {}; given up by the package {}",
            told.language,
            told.acknowledged.len(),
            told.again.len(),
            told.dropped
        );
    }
    let unanswered = received.requests.iter().filter(|request| request.status.is_none());
    let unanswered: HashSet<u64> = unanswered.map(|request| request.number).collect();
    // This SDK's batches have ids, by which the relays know them again.
    let again = told.iter().filter(|told| told.language != "Rust").flat_map(|told| &told.again);
    let again: HashSet<&str> = again.map(String::as_str).collect();
    let (mut by_client, mut by_convert, mut by_relay, mut unexplained) = (0, 0, 0, Vec::new());
    for ((visitor, _), requests) in &arrived {
        // Each arrival after the first follows from the one before it.
        for earlier in &requests[..requests.len() - 1] {
            if unanswered.contains(earlier) {
                by_convert += 1;
            } else if unsettled.iter().any(|requests| requests.contains(earlier)) {
                by_relay += 1;
            } else if again.contains(visitor) {
                by_client += 1;
            } else {
                unexplained.push((earlier, visitor));
            }
        }
    }
    let lost = lost(&expected, &arrived);
    println!("events acknowledged: {}, lost: {lost}", 2 * expected.len());
    println!(
        "events that arrived again: {by_convert} after a request to Convert without an answer, {by_relay} as a relay ended before \
         Redis knew of the answer, {by_client} that a client without batch ids sent again, {} unexplained",
        unexplained.len()
    );
    let flaws: Vec<&str> = received.requests.iter().filter_map(|request| request.flaw.as_deref()).collect();
    println!("requests to Convert: {}, flawed: {flaws:?}", received.totals.track_requests);
    assert_eq!(lost, 0, "acknowledged events are lost");
    // The relay was killed, or Convert's connections dropped, while it sent one.
    assert!(flaws.iter().all(|flaw| *flaw == "the body ended early"), "requests are flawed");
    assert!(
        unexplained.is_empty(),
        "arrived again after {unexplained:?}, while relays ended in {unsettled:?}"
    );
    assert!(told.iter().all(|told| !told.acknowledged.is_empty()), "every client was acknowledged something");
}

/// The requests that brought each event, in order.
fn arrived(received: &Received) -> HashMap<(&str, bool), Vec<u64>> {
    let mut arrived: HashMap<_, Vec<u64>> = HashMap::new();
    for event in &received.events {
        let is_conversion = matches!(event.event, EventData::Conversion { .. });
        arrived.entry((event.visitor_id.as_str(), is_conversion)).or_default().push(event.request);
    }
    arrived
}

fn lost(expected: &[&str], arrived: &HashMap<(&str, bool), Vec<u64>>) -> usize {
    let both =
        |visitor: &str| [false, true].iter().filter(|kind| !arrived.contains_key(&(visitor, **kind))).count();
    expected.iter().map(|visitor| both(visitor)).sum()
}
