//! The ways in which a batch program can end, and what each delivers.

use crate::program::Convert;

/// The exit code, and how many of the hundred conversions arrived.
fn end_by(ending: &str) -> (Option<i32>, u64) {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_batch"), &[ending], &[]);
    let code = program.end().code();
    (code, convert.received().totals.conversion)
}

#[test]
fn a_return_delivers_everything() {
    assert_eq!(end_by("return"), (Some(0), 100));
}

#[test]
fn an_error_that_main_returns_delivers_everything() {
    assert_eq!(end_by("error"), (Some(1), 100));
}

#[test]
fn a_panic_delivers_everything_while_it_unwinds() {
    assert_eq!(end_by("panic"), (Some(101), 100));
}

#[test]
fn an_exit_after_an_explicit_shutdown_delivers_everything() {
    assert_eq!(end_by("exit"), (Some(3), 100));
}

#[test]
fn an_exit_after_a_registered_flush_delivers_everything() {
    assert_eq!(end_by("exit-after-a-registration"), (Some(3), 100));
}

#[test]
fn an_exit_without_a_flush_delivers_nothing() {
    assert_eq!(end_by("exit-without-a-flush"), (Some(3), 0));
}

#[test]
fn a_handled_sigterm_delivers_everything() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_batch"), &["signal"], &[]);
    program.rest_of_line("working");
    program.signal("-TERM");
    let imported: u64 = program.rest_of_line("stopped before ").parse().unwrap();
    assert_eq!(program.end().code(), Some(0));
    assert_eq!(convert.received().totals.conversion, imported);
}

#[test]
fn a_kill_delivers_nothing() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_batch"), &["signal"], &[]);
    program.rest_of_line("working");
    program.signal("-KILL");
    assert_eq!(program.end().code(), None);
    // Batches hold ten thousand: none was full.
    assert_eq!(convert.received().totals.conversion, 0);
}
