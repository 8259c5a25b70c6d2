//! Outages in virtual time: of Convert for long, at the rate at which a full stream keeps filling; of one project's
//! host; of a host whose events are refused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::http::delivery_answer;
use convert_sdk::machine::{Jitter, Moment};
use convert_sdk::ports::{DeliveryFailure, TransportError};

use super::machine::{Consumer, Entry, Sending};

const OUTAGE: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_millis(100);
/// Entries that are offered in each step, and the most that the stream has room for.
const OFFERED: usize = 10;
const BOUND: usize = 20_000;
/// How much the consumer reads ahead, and how many entries one read brings.
const HELD: usize = 100_000;
const READ: usize = 16;

fn body(number: usize) -> Vec<u8> {
    body_of("2", number)
}

fn body_of(project: &str, number: usize) -> Vec<u8> {
    let event = format!(r#"{{"eventType":"bucketing","data":{{"name":{number}}}}}"#);
    let visitors = format!(r#"[{{"visitorId":"v","events":[{event},{event}]}}]"#);
    format!(r#"{{"accountId":"1","projectId":"{project}","visitors":{visitors}}}"#).into_bytes()
}

fn entry(number: usize, body: Vec<u8>) -> Entry {
    Entry { id: number.to_string(), token: String::new(), body }
}

/// The entries in a request, each once.
fn numbers(sending: &Sending) -> Vec<usize> {
    let mut numbers = numbers_of(sending);
    assert_eq!(numbers.len(), sending.events);
    numbers.dedup();
    numbers
}

#[test]
fn ten_minutes_without_convert_are_bounded_and_drain_by_age() {
    let delivery = DeliveryConfig::builder().lanes(4).max_request_events(1000).build().unwrap();
    let mut machine = Consumer::new(&delivery, Jitter::seeded(1), HELD);
    let (mut now, mut stream, mut in_stream) = (Moment::default(), VecDeque::new(), 0);
    let (mut accepted, mut turned_away, mut attempts, mut most_held) = (0, 0, 0, 0);
    let mut arrived = Vec::new();
    loop {
        let is_down = now.since_origin() < OUTAGE;
        for _ in 0..if is_down { OFFERED } else { 0 } {
            if in_stream == BOUND {
                turned_away += 1;
                continue;
            }
            stream.push_back(entry(accepted, body(accepted)));
            (accepted, in_stream) = (accepted + 1, in_stream + 1);
        }
        while machine.has_room() && !stream.is_empty() {
            let read = stream.drain(..READ.min(stream.len())).collect();
            machine.take(read, now);
        }
        most_held = most_held.max(machine.entries());
        let mut sent = Vec::new();
        while let Some(sending) = machine.next(now) {
            sent.push(sending);
        }
        for sending in sent {
            attempts += usize::from(is_down);
            let answer = if is_down {
                Err(DeliveryFailure::NotSent(TransportError::Connect))
            } else {
                arrived.extend(numbers(&sending));
                delivery_answer(200, None)
            };
            let settled = machine.ended(sending.attempt, answer, now).settled;
            in_stream -= settled.len();
            let settled: Vec<_> = settled.into_iter().map(|done| done.number).collect();
            machine.settled(&settled);
        }
        if !is_down && in_stream == 0 {
            break;
        }
        now += STEP;
    }
    assert_eq!(accepted, BOUND, "the stream is full, and stays at its bound");
    assert_eq!(turned_away, 6000 * OFFERED - BOUND);
    assert!(most_held <= HELD / body(0).len() + 1 + READ, "{most_held} entries in memory");
    assert!(attempts > 10 && attempts < 100, "{attempts} attempts in ten minutes");
    assert_eq!(arrived, (0..BOUND).collect::<Vec<_>>(), "each once, oldest first");
    assert_eq!(machine.entries(), 0);
}

/// Events of two projects, in this order, while the host of one of them never takes any.
fn one_host_fails(projects: &[&str], failure: impl Fn() -> DeliveryFailure) {
    const STEPS: usize = 100;
    let delivery = DeliveryConfig::builder().lanes(1).max_request_events(10).build().unwrap();
    let mut machine = Consumer::new(&delivery, Jitter::seeded(1), HELD);
    let entries =
        projects.iter().enumerate().map(|(number, project)| entry(number, body_of(project, number)));
    machine.take(entries.collect(), Moment::default());
    let (mut now, mut arrived, mut attempts) = (Moment::default(), Vec::new(), 0);
    for _ in 0..STEPS {
        // Longer than any backoff.
        now += Duration::from_secs(120);
        let Some(sending) = machine.next(now) else { break };
        let fails = &*sending.project_id == "nope";
        attempts += usize::from(fails);
        if !fails {
            arrived.extend(numbers(&sending));
        }
        let answer = if fails { Err(failure()) } else { delivery_answer(200, None) };
        machine.ended(sending.attempt, answer, now);
    }
    arrived.sort_unstable();
    let good: Vec<usize> = (0..projects.len()).filter(|number| projects[*number] != "nope").collect();
    assert_eq!(arrived, good);
    assert!(attempts >= STEPS / 2, "the other project is still tried: {attempts}");
}

#[test]
fn a_project_whose_host_fails_does_not_stop_the_others() {
    let order = ["2", "nope", "2", "2", "nope", "nope", "2"];
    let refused = || delivery_answer(401, None).unwrap_err();
    for start in 0..order.len() - 1 {
        one_host_fails(&order[start..], || DeliveryFailure::NotSent(TransportError::Connect));
        one_host_fails(&order[start..], || DeliveryFailure::Unknown(TransportError::Interrupted));
        one_host_fails(&order[start..], refused);
    }
}

/// What a host sends is refused, and stands before what the others send, of whom one sends every ten seconds. Returns
/// how many requests were made in an hour, and how long the slowest of the good entries took.
fn bad_host(bad: usize, good: usize, has_own_header: bool) -> (usize, Duration) {
    const HOUR: Duration = Duration::from_secs(3600);
    let delivery = DeliveryConfig::builder().lanes(4).max_request_events(1000).build().unwrap();
    let mut machine = Consumer::new(&delivery, Jitter::seeded(1), 1 << 20);
    let body = |number: usize| {
        let text = String::from_utf8(body_of("2", number)).unwrap();
        let source = if number < bad && has_own_header { number.to_string() } else { String::new() };
        text.replacen('{', &format!(r#"{{"source":"{source}","#), 1).into_bytes()
    };
    machine.take((0..bad + good).map(|number| entry(number, body(number))).collect(), Moment::default());
    let (mut now, mut next, mut requests) = (Moment::default(), bad + good, 0);
    let mut waiting: BTreeMap<usize, Moment> = (bad..next).map(|number| (number, now)).collect();
    let mut slowest = Duration::ZERO;
    while now.since_origin() < HOUR {
        now += STEP;
        if good > 0 && now.since_origin().as_millis() % 10_000 == 0 {
            machine.take(vec![entry(next, body(next))], now);
            waiting.insert(next, now);
            next += 1;
        }
        let mut sent = Vec::new();
        while let Some(sending) = machine.next(now) {
            sent.push(sending);
        }
        requests += sent.len();
        for sending in sent {
            let numbers = numbers_of(&sending);
            let is_refused = numbers.iter().any(|number| *number < bad);
            let answer = delivery_answer(if is_refused { 400 } else { 200 }, None);
            if !is_refused {
                let taken = numbers.iter().filter_map(|number| waiting.remove(number));
                slowest = taken.fold(slowest, |slowest, taken_at| slowest.max(now - taken_at));
            }
            let settled = machine.ended(sending.attempt, answer, now).settled;
            let settled: Vec<_> = settled.into_iter().map(|done| done.number).collect();
            machine.settled(&settled);
        }
    }
    let left = waiting.values().map(|taken_at| now - *taken_at).max();
    (requests, slowest.max(left.unwrap_or_default()))
}

/// The entries in a request, each as often as it has events there.
fn numbers_of(sending: &Sending) -> Vec<usize> {
    let text = std::str::from_utf8(&sending.body).unwrap();
    text.split("\"name\":").skip(1).map(|rest| rest.split('}').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_host_whose_events_are_refused_does_not_stop_the_others() {
    for has_own_header in [true, false] {
        let (requests, slowest) = bad_host(300, 300, has_own_header);
        assert!(slowest < Duration::from_secs(300), "{slowest:?}");
        // What is good takes one request each at most; a bad event its search, and as much again for others in between.
        assert!(requests < 660 + 600 * 2 * 12, "{requests} requests");
    }
}

#[test]
fn a_convert_that_refuses_everything_is_left_alone() {
    for has_own_header in [true, false] {
        let (requests, _) = bad_host(3000, 0, has_own_header);
        assert!(requests < 300, "{requests} requests in an hour");
    }
}
