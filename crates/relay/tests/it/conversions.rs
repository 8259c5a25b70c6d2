//! Conversions that several hosts send, removed by choice.

use redis::Commands;

use crate::support::{LONG, Running, conversion, envelope, exposure, settings, world};

const EXPOSURE: &str =
    r#"{"eventType":"bucketing","data":{"experienceId":"100320101","variationId":"100330103"}}"#;
const PURCHASE: &str = r#"{"eventType":"conversion","data":{"goalId":"100370101"}}"#;
const AMOUNT: &str =
    r#"{"eventType":"conversion","data":{"goalId":"100370101","goalData":[{"key":"amount","value":10.5}]}}"#;
const SIGNUP: &str = r#"{"eventType":"conversion","data":{"goalId":"100370102"}}"#;

#[test]
fn a_conversion_that_two_hosts_send_arrives_once() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut remembering = settings(&redis, &convert);
    remembering.remember_conversions_ms = 3_600_000;
    let (one, two) = (Running::start(remembering.clone()), Running::start(remembering));
    let all = format!("{PURCHASE},{PURCHASE},{AMOUNT},{EXPOSURE}");
    assert_eq!(one.post(&envelope("v", &all)).status, 200);
    for body in [conversion("v"), envelope("v", &format!("{PURCHASE},{SIGNUP},{AMOUNT}")), conversion("w")] {
        assert_eq!(two.post(&body).status, 200);
    }
    let received = convert.wait_for_events(6, LONG).unwrap();
    // For each visitor and goal one without goal data; all of those with goal data.
    let mut conversions: Vec<_> = received
        .events
        .iter()
        .filter_map(|event| match &event.event {
            convert_emulator::EventData::Conversion { goal_id, goal_data, .. } => {
                Some((event.visitor_id.as_str(), goal_id.as_str(), goal_data.is_some()))
            }
            _ => None,
        })
        .collect();
    conversions.sort_unstable();
    let (purchase, signup) = ("100370101", "100370102");
    let with_data = ("v", purchase, true);
    assert_eq!(
        conversions,
        [("v", purchase, false), with_data, with_data, ("v", signup, false), ("w", purchase, false)]
    );
    assert_eq!((received.totals.bucketing, received.totals.flawed), (1, 0));
    let counts = |name| (one.metric(name), two.metric(name));
    assert_eq!((counts("conversions_repeated_total"), counts("events_accepted_total")), ((1, 2), (3, 3)));
}

#[test]
fn hosts_that_convert_at_once_send_one() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut remembering = settings(&redis, &convert);
    remembering.remember_conversions_ms = 3_600_000;
    let relays = [Running::start(remembering.clone()), Running::start(remembering)];
    std::thread::scope(|scope| {
        for host in 0..8 {
            let relay = &relays[host % 2];
            scope.spawn(move || {
                for round in 0..10 {
                    let events = format!("{PURCHASE},{SIGNUP}");
                    assert_eq!(relay.post(&envelope(&format!("v{round}"), &events)).status, 200);
                }
            });
        }
    });
    let received = convert.wait_for_events(20, LONG).unwrap();
    let repeated: u64 = relays.iter().map(|relay| relay.metric("conversions_repeated_total")).sum();
    assert_eq!((received.totals.conversion, repeated), (20, 140));
}

#[test]
fn marks_expire_show_no_visitor_and_need_the_setting() {
    let Some((redis, convert)) = world(&[]) else { return };
    let plain = Running::start(settings(&redis, &convert));
    for _ in 0..2 {
        assert_eq!(plain.post(&conversion("seen")).status, 200);
    }
    convert.wait_for_events(2, LONG).unwrap();
    let mut remembering = settings(&redis, &convert);
    remembering.remember_conversions_ms = 60_000;
    let relay = Running::start(remembering);
    assert_eq!(relay.post(&conversion("seen")).status, 200);
    assert_eq!(relay.post(&exposure("seen")).status, 200);
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let marks: Vec<String> = connection.keys("*:sent:*").unwrap();
    assert_eq!(marks.len(), 1);
    assert!(!marks[0].contains("seen") && !marks[0].contains("100370101"), "{marks:?}");
    let left: i64 = connection.pttl(&marks[0]).unwrap();
    assert!(left > 0 && left <= 60_000, "{left}");
}
