//! The binary: settings, logging, and a graceful stop on SIGTERM or SIGINT, or when a task has panicked.

use std::process::ExitCode;

use convert_relay::{Relay, Settings, StartError};

fn main() -> ExitCode {
    convert_relay::log_lines();
    match run() {
        Ok(code) => code,
        Err(error) => {
            log::error!(target: "convert_relay", "not started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, StartError> {
    let settings = Settings::of_process()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.max_blocking_threads(settings.blocking_threads()).enable_all().build();
    let runtime = runtime.map_err(|error| StartError::Settings(format!("no threads: {error}")))?;
    let ended = runtime.block_on(async {
        let relay = Relay::start(settings).await?;
        let code = tokio::select! {
            () = told_to_stop() => ExitCode::SUCCESS,
            () = relay.failed() => {
                log::error!(target: "convert_relay", "stopping, as a task has panicked");
                ExitCode::FAILURE
            }
        };
        relay.stop().await;
        Ok(code)
    });
    // Nobody takes the answer to a poll that is still in progress.
    runtime.shutdown_background();
    ended
}

async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
