//! The job worker.

use crate::program::{Convert, conversions_of};

#[test]
fn each_finished_jobs_event_is_delivered_though_the_worker_is_stopped_in_the_middle() {
    let convert = Convert::start();
    let jobs = 2_000;
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &[&jobs.to_string()], &[]);
    let mut done: Vec<String> = (0..20).map(|_| program.says("done ")).collect();
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
    assert_eq!(received.totals.conversion, done.len() as u64, "no job was begun and not finished");
}

#[test]
fn every_job_is_done_where_nothing_stops_the_worker() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_job_worker"), &["25"], &[]);
    let mut done: Vec<u32> = (0..25).map(|_| program.says("done ").parse().unwrap()).collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..25));
    program.signal("-TERM");
    assert!(program.end().success());
    assert_eq!(convert.received().totals.conversion, 25);
}
