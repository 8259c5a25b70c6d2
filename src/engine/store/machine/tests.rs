//! The store's state machine, step by step.

use super::*;
use crate::engine::{Pending, question};

const KEYS: [&str; 2] = ["a", "b"];

fn machine() -> StoreMachine {
    StoreMachine::new(Duration::from_secs(1), Duration::from_secs(9), None)
}

fn claim(sequence: u64) -> StoreCommand {
    let key = KEYS[sequence as usize % 2].to_owned();
    StoreCommand::Claim(vec![ClaimRequest { sequence, key }])
}

/// The calls that a step begins.
fn begun(machine: &mut StoreMachine, now: Moment) -> Vec<(u64, Call)> {
    let mut effects = Vec::new();
    machine.settle(now, &mut effects);
    let call = |effect| if let StoreEffect::Call(id, call) = effect { Some((id, call)) } else { None };
    effects.into_iter().filter_map(call).collect()
}

#[test]
fn a_claim_waits_only_for_the_release_of_its_own_key() {
    let (mut machine, now) = (machine(), Moment::default());
    machine.command(StoreCommand::Release(vec!["a".into()]), now);
    machine.command(claim(0), now);
    machine.command(claim(1), now);
    let calls = begun(&mut machine, now);
    assert!(matches!(&calls[0].1, Call::Claim(keys, _) if keys == &["b"]), "{calls:?}");
    assert!(matches!(&calls[1].1, Call::Release(keys) if keys == &["a"]), "{calls:?}");
    assert_eq!(calls.len(), 2);
    assert!(begun(&mut machine, now).is_empty());
    machine.ended(calls[1].0, Done::KeysUpdated, now, &mut Vec::new());
    let calls = begun(&mut machine, now);
    assert!(matches!(&calls[..], [(_, Call::Claim(keys, _))] if keys == &["a"]), "{calls:?}");
}

#[test]
fn a_claim_behind_a_release_that_hangs_is_given_up_in_time() {
    let (mut machine, now) = (machine(), Moment::default());
    machine.command(StoreCommand::Release(vec!["a".into()]), now);
    machine.command(claim(0), now);
    begun(&mut machine, now);
    let late = machine.wake_at().unwrap();
    assert_eq!(late, now + Duration::from_secs(1));
    let mut effects = Vec::new();
    machine.settle(late, &mut effects);
    let given_up = effects
        .iter()
        .any(|effect| matches!(effect, StoreEffect::Claimed(it) if it[0].answer == ClaimAnswer::Unasked));
    assert!(given_up);
}

#[test]
fn keys_that_do_not_fit_are_reported() {
    let (mut machine, now) = (machine(), Moment::default());
    let keys = |from: usize, to: usize| (from..to).map(|number| number.to_string()).collect();
    machine.command(StoreCommand::Keep(keys(0, MAX_KEYS)), now);
    machine.command(StoreCommand::Release(keys(MAX_KEYS, MAX_KEYS + 3)), now);
    assert_eq!(machine.waiting(), MAX_KEYS);
    let mut effects = Vec::new();
    (0..2).for_each(|_| machine.settle(now, &mut effects));
    let keys_dropped = |effect| if let StoreEffect::KeysDropped(keys) = effect { Some(keys) } else { None };
    assert_eq!(effects.into_iter().filter_map(keys_dropped).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_claim_answered_late_is_still_answered() {
    let (mut machine, mut now) = (machine(), Moment::default());
    (0..2).for_each(|sequence| machine.command(claim(sequence), now));
    let calls = begun(&mut machine, now);
    now += Duration::from_secs(1);
    let answers = |effects: Vec<StoreEffect>| {
        let claimed = |effect| if let StoreEffect::Claimed(it) = effect { it } else { Vec::new() };
        let claimed = effects.into_iter().flat_map(claimed);
        claimed.map(|it| (it.sequence, it.key, it.answer)).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let mut effects = Vec::new();
        machine.settle(now, &mut effects);
        let late = answers(effects);
        assert!(late.is_empty() || late.iter().all(|it| it.2 == ClaimAnswer::Late), "told once: {late:?}");
    }
    let mut effects = Vec::new();
    for (id, call) in calls {
        let Call::Claim(keys, _) = call else { panic!("{call:?}") };
        machine.ended(id, Done::Claim(keys.iter().map(|_| Ok(true)).collect()), now, &mut effects);
    }
    let first = |sequence: u64, key: &str| (sequence, key.to_owned(), ClaimAnswer::First);
    assert_eq!(answers(effects), [first(0, "a"), first(1, "b")]);
}

#[test]
fn claims_an_ended_tracker_did_not_read_are_released() {
    let (mut machine, now) = (machine(), Moment::default());
    let answers = [ClaimAnswer::First, ClaimAnswer::Repeated, ClaimAnswer::Failed];
    let claimed = answers.map(|answer| Claimed { sequence: 0, key: format!("{answer:?}"), answer });
    machine.release_unread(claimed.into(), now);
    let calls = begun(&mut machine, now);
    assert!(matches!(&calls[..], [(_, Call::Release(keys))] if keys == &["First"]), "{calls:?}");
}

fn asked_drain(machine: &mut StoreMachine, ticket: u64, deadline: Moment, now: Moment) -> Pending<()> {
    let (reply, drained) = question();
    machine.command(StoreCommand::Drain(ticket, deadline, reply), now);
    drained
}

/// Ends calls, and returns whether a drain has been answered by then.
fn end_all(machine: &mut StoreMachine, ids: std::ops::Range<u64>, done: fn() -> Done, now: Moment) -> bool {
    let mut effects = Vec::new();
    for id in ids {
        machine.ended(id, done(), now, &mut effects);
        machine.settle(now, &mut effects);
    }
    effects.iter().any(|effect| matches!(effect, StoreEffect::Drained(_)))
}

const WROTE: fn() -> Done = || Done::Write { written: 1, refused: 0, next: None };
const LONG: Duration = Duration::from_secs(99);

#[test]
fn a_write_begun_before_a_drain_does_not_count_for_it() {
    let (mut machine, now) = (machine(), Moment::default());
    for _ in 0..WRITE_LANES {
        machine.command(StoreCommand::Write, now);
        assert_eq!(begun(&mut machine, now).len(), 1);
    }
    // Another visitor is waiting for a lane.
    machine.command(StoreCommand::Write, now);
    let _drained = asked_drain(&mut machine, 9, now + LONG, now);
    assert!(!end_all(&mut machine, 0..WRITE_LANES as u64, WROTE, now));
    assert!(end_all(&mut machine, 4..5, WROTE, now));
}

#[test]
fn a_visitor_that_changes_while_written_holds_up_a_drain() {
    let (mut machine, now) = (machine(), Moment::default());
    machine.command(StoreCommand::Write, now);
    begun(&mut machine, now);
    machine.command(StoreCommand::Write, now);
    let _drained = asked_drain(&mut machine, 9, now + LONG, now);
    begun(&mut machine, now);
    assert!(!end_all(&mut machine, 1..2, WROTE, now), "the older call is still running");
    let changed = || Done::Write { written: 1, refused: 0, next: Some(3) };
    assert!(!end_all(&mut machine, 0..1, changed, now));
    assert_eq!(begun(&mut machine, now + GAP).len(), 1);
    assert!(end_all(&mut machine, 2..3, WROTE, now + GAP));
}

#[test]
fn a_drain_waits_for_earlier_keys_and_no_later_ones() {
    let keep = |keys: usize| StoreCommand::Keep(vec![String::new(); keys]);
    let (mut machine, now) = (machine(), Moment::default());
    for _ in 0..6 {
        machine.command(keep(1), now);
        assert_eq!(begun(&mut machine, now).len(), 1);
    }
    // Waits for a lane.
    machine.command(keep(1), now);
    let _drained = asked_drain(&mut machine, 0, now + LONG, now);
    begun(&mut machine, now);
    assert!(!end_all(&mut machine, 0..6, || Done::KeysUpdated, now), "it has only been handed over");
    machine.command(keep(7 * MOST), now);
    begun(&mut machine, now);
    assert!(!machine.keeps.is_empty());
    assert!(end_all(&mut machine, 6..7, || Done::KeysUpdated, now));
}

#[test]
fn a_slow_write_is_reported_at_the_deadline() {
    let (mut machine, mut now) = (machine(), Moment::default());
    machine.command(StoreCommand::Write, now);
    let [drain, close] = [5, 9].map(|seconds| now + Duration::from_secs(seconds));
    let _drained = asked_drain(&mut machine, 1, drain, now);
    machine.command(StoreCommand::Close(close), now);
    begun(&mut machine, now);
    let mut told = Vec::new();
    while let Some(wake) = machine.wake_at() {
        now = wake;
        let mut effects = Vec::new();
        machine.settle(now, &mut effects);
        assert_eq!(machine.is_idle(now), now >= close);
        told.extend(effects.iter().filter_map(|effect| match effect {
            StoreEffect::Unwritten { last } => Some((now, Some(*last))),
            StoreEffect::Drained(_) => Some((now, None)),
            _ => None,
        }));
    }
    assert_eq!(told, [(drain, Some(false)), (drain, None), (close, Some(true))]);
}

#[test]
fn waiting_keys_are_bounded_in_bytes_too() {
    const KEY: usize = 20_000;
    for release in [false, true] {
        let (mut machine, now) = (machine(), Moment::default());
        let ask = |machine: &mut StoreMachine| {
            let keys = (0..600).map(|at| format!("{at:0KEY$}")).collect();
            machine
                .command(if release { StoreCommand::Release(keys) } else { StoreCommand::Keep(keys) }, now);
        };
        let copies = if release { RELEASE_COPIES } else { 1 };
        let fits = MAX_KEY_BYTES / (copies * KEY);
        ask(&mut machine);
        begun(&mut machine, now);
        ask(&mut machine);
        assert_eq!(machine.waiting(), fits, "the keys in a call count too");
        end_all(&mut machine, 0..100, || Done::KeysUpdated, now);
        assert_eq!((machine.waiting(), machine.key_bytes), (0, 0));
        ask(&mut machine);
        assert_eq!(machine.waiting(), fits, "there is space again");
    }
}
