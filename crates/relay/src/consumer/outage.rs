//! Outages in virtual time: of Convert for long, at the rate at which a full stream keeps filling; of one project's
//! host.

use std::collections::VecDeque;
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

/// The entries in a request, each once.
fn numbers(sending: &Sending) -> Vec<usize> {
    let text = std::str::from_utf8(&sending.body).unwrap();
    let names = text.split("\"name\":").skip(1).map(|rest| rest.split('}').next().unwrap().parse().unwrap());
    let mut numbers: Vec<usize> = names.collect();
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
            stream.push_back(Entry { id: accepted.to_string(), body: body(accepted) });
            (accepted, in_stream) = (accepted + 1, in_stream + 1);
        }
        while machine.has_room() && !stream.is_empty() {
            let read = stream.drain(..READ.min(stream.len())).collect();
            assert!(machine.take(read, now).is_empty());
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
            let settled: Vec<_> = settled.into_iter().map(|done| (done.id, done.bytes)).collect();
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
    let entries = projects
        .iter()
        .enumerate()
        .map(|(number, project)| Entry { id: number.to_string(), body: body_of(project, number) });
    assert!(machine.take(entries.collect(), Moment::default()).is_empty());
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
