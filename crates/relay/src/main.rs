//! The binary: settings, logging, and a graceful stop on SIGTERM or SIGINT.

use std::process::ExitCode;

use convert_relay::{Relay, Settings, StartError};

fn main() -> ExitCode {
    convert_relay::log_lines();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!(target: "convert_relay", "not started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), StartError> {
    let settings = Settings::of_process()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::Settings(format!("no threads: {error}")))?;
    runtime.block_on(async {
        let relay = Relay::start(settings).await?;
        told_to_stop().await;
        relay.stop().await;
        Ok(())
    })
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
