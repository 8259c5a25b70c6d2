//! Ends cleanly on SIGTERM: the program, not the SDK, handles the signal, stops accepting work, and shuts the core down
//! within a deadline.
//!
//! Talks to the servers named by `CONVERT_SDK_KEY` and the other variables, and then waits for a signal. Without them
//! it starts an emulator, and sends itself SIGTERM after 100 requests.

mod endpoint;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_sdk::{Core, attributes};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Well below a supervisor's grace period (Kubernetes: 30 s, systemd: 90 s, Docker: 10 s).
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else, so that from here on a signal does not kill the program.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let emulator = endpoint::emulator()?;
    // Without a refresh, a stopped experience keeps running here until the next start.
    let config = endpoint::configure(emulator.as_ref())?.for_server();
    let core = Core::new(config.build()?);
    core.initialize()?;

    let serving = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&core, &serving, emulator.is_some()));
        if let Some(signal) = signals.forever().next() {
            println!("signal {signal}: no more requests");
        }
        serving.store(false, Ordering::Relaxed);
    });

    // All workers have ended: nothing is recorded after this.
    // As text, because `main` prints errors with `Debug`.
    let report = core.shutdown(GRACE).map_err(|error| error.to_string())?;
    println!("{} recorded, {} delivered", report.stats.recorded, report.stats.delivered);
    Ok(())
}

/// Stands for the program's real work: a request every few milliseconds.
fn serve(core: &Core, serving: &AtomicBool, ends_itself: bool) {
    for request in (0..).take_while(|_| serving.load(Ordering::Relaxed)) {
        if let Ok(visitor) = core.create_context(format!("visitor-{request}"), attributes! { "age" => 30 }) {
            visitor.run_experiences();
            visitor.track_conversion("signup");
        }
        if ends_itself && request == 100 {
            let _ = signal_hook::low_level::raise(SIGTERM);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
