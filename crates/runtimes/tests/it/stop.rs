//! How every program handles SIGTERM, whatever hangs.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::process::Command;

use convert_emulator::{Fault, FaultKind, RouteKind};

use crate::http::{Client, ask, head};
use crate::program::{Convert, PATIENCE, Program, ROCKET, ROCKET_LISTENS};

/// A program that runs until it is stopped, and how to start it.
struct Stopped {
    program: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// The request that records something, and the line with the program's address; `None` if it needs no request.
    records: Option<(&'static str, &'static str)>,
}

const LISTENS: &str = "listening on ";

const PROGRAMS: [Stopped; 7] = [
    server(env!("CARGO_BIN_EXE_axum_server"), "/order"),
    server(env!("CARGO_BIN_EXE_actix_server"), "/order"),
    server(env!("CARGO_BIN_EXE_axum_quickstart"), "/purchase"),
    server(env!("CARGO_BIN_EXE_actix_quickstart"), "/purchase"),
    Stopped {
        environment: &[("HOST", "127.0.0.1"), ("PORT", "0")],
        ..server(env!("CARGO_BIN_EXE_cloud_run"), "/checkout")
    },
    Stopped {
        environment: &ROCKET,
        records: Some(("/purchase", ROCKET_LISTENS)),
        ..server(env!("CARGO_BIN_EXE_rocket_quickstart"), "")
    },
    Stopped { arguments: &["2000"], records: None, ..server(env!("CARGO_BIN_EXE_job_worker"), "") },
];

const fn server(program: &'static str, path: &'static str) -> Stopped {
    Stopped { program, arguments: &[], environment: &[], records: Some((path, LISTENS)) }
}

impl Stopped {
    fn start(&self, convert: &Convert) -> Program {
        convert.run(self.program, self.arguments, self.environment)
    }
}

#[test]
fn sigterm_while_the_config_hangs_ends_a_program_cleanly() {
    for stopped in &PROGRAMS {
        let convert = Convert::start();
        convert.emulator.inject(Fault::config(FaultKind::Hang));
        let program = stopped.start(&convert);
        let asked = |it: &convert_emulator::Received| it.requests_on(RouteKind::Config).count() == 1;
        convert.emulator.wait_until(PATIENCE, asked).unwrap();
        program.signal("-TERM");
        assert!(program.end().success(), "{}", stopped.program);
    }
}

#[test]
fn a_second_sigterm_ends_a_program_at_once() {
    for stopped in &PROGRAMS {
        let convert = Convert::start();
        let program = stopped.start(&convert);
        if let Some((path, listens)) = stopped.records {
            let address: SocketAddr = program.rest_of_line(listens).parse().unwrap();
            convert.emulator.inject(Fault::track(FaultKind::Hang));
            assert_eq!(ask(address, "POST", path, Some("visitor-1")).unwrap().status, 200);
        } else {
            program.rest_of_line("done ");
            convert.emulator.inject(Fault::track(FaultKind::Hang));
        }
        assert_eq!(program.terminate().code(), Some(143), "{}", stopped.program);
    }
}

#[test]
fn a_second_sigterm_ends_a_batch_at_once() {
    let convert = Convert::start();
    convert.emulator.inject(Fault::track(FaultKind::Hang));
    let program = convert.run(env!("CARGO_BIN_EXE_batch"), &["signal"], &[]);
    program.rest_of_line("working");
    assert_eq!(program.terminate().code(), Some(143));
}

#[test]
fn spawn_blocking_does_not_keep_the_process_alive() {
    for server in [env!("CARGO_BIN_EXE_axum_server"), env!("CARGO_BIN_EXE_actix_server")] {
        let convert = Convert::start();
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("terms");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let program = convert.run(server, &[], &[("TERMS", pipe.to_str().unwrap())]);
        let mut client = Client::connect(program.address()).unwrap();
        client.write(&head("GET", "/terms", None, 0)).unwrap();
        // Open once the handler reads; it then waits for what is written.
        let _silent = OpenOptions::new().write(true).open(&pipe).unwrap();
        drop(client);
        program.signal("-TERM");
        assert!(program.end().success(), "{server}");
    }
}
