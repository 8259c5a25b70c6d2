//! Each program as a separate process, driven from outside and checked by the emulator's record.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod batch;
mod cloud_run;
mod guide;
mod http;
mod job_worker;
mod lambda;
mod load;
mod program;
mod quickstarts;
mod runtime_api;
mod servers;
mod stop;
