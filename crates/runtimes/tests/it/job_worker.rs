//! The job worker.

use std::time::Duration;

use convert_emulator::{Fault, FaultKind, RouteKind};

use crate::program::{Convert, PATIENCE, conversions_of};

/// The time between SIGTERM and SIGKILL.
const SUPERVISOR_LEAVES: Duration = Duration::from_secs(10);

#[test]
fn a_stopped_worker_delivers_every_finished_jobs_event() {
    let convert = Convert::start();
    let jobs = 2_000;
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &[&jobs.to_string()], &[]);
    let mut done: Vec<String> = (0..20).map(|_| program.rest_of_line("done ")).collect();
    for order in &done {
        assert_eq!(
            convert.conversions_of(&format!("visitor-{order}")),
            1,
            "delivered before the job is done"
        );
    }
    program.signal("-TERM");
    done.extend(program.rest().iter().filter_map(|line| line.strip_prefix("done ").map(str::to_owned)));
    assert!(program.end().success());

    let received = convert.received();
    assert!(done.len() < jobs, "the worker was not stopped in the middle");
    for order in &done {
        assert_eq!(conversions_of(&received, &format!("visitor-{order}")), 1, "job {order}");
    }
    assert_eq!(received.totals.conversion, done.len() as u64, "no job was started and left unfinished");
}

#[test]
fn an_undisturbed_worker_does_every_job() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &["25"], &[]);
    let mut done: Vec<u32> = (0..25).map(|_| program.rest_of_line("done ").parse().unwrap()).collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..25));
    program.signal("-TERM");
    assert!(program.end().success());
    assert_eq!(convert.received().totals.conversion, 25);
}

#[test]
fn jobs_are_done_while_the_endpoint_hangs() {
    let convert = Convert::start();
    convert.emulator.inject(Fault::track(FaultKind::Hang));
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &["8"], &[]);
    let mut done: Vec<u32> = (0..8).map(|_| program.rest_of_line("done ").parse().unwrap()).collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..8));
    assert_eq!(convert.received().totals.conversion, 0);

    convert.emulator.clear_faults();
    convert.emulator.close_connections();
    program.signal("-TERM");
    assert!(program.end().success());
    let received = convert.received();
    for order in 0..8 {
        assert_eq!(conversions_of(&received, &format!("visitor-{order}")), 1, "job {order}");
    }
}

#[test]
fn a_hanging_endpoint_does_not_delay_the_end() {
    let convert = Convert::start();
    convert.emulator.inject(Fault::track(FaultKind::Hang));
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &["40"], &[]);
    let asked = |it: &convert_emulator::Received| it.requests_on(RouteKind::Track).count() > 0;
    convert.emulator.wait_until(PATIENCE, asked).unwrap();
    program.signal("-TERM");
    // Not killed: it reports that something was not delivered.
    assert_eq!(program.end_or_kill(SUPERVISOR_LEAVES).code(), Some(1));
}
