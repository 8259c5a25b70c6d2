//! A batch program and the ways in which it can end, chosen by the argument.

use std::env;
use std::error::Error;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use convert_sdk::{Core, FlushGuard, SdkConfig, register_exit_flush};
use signal_hook::consts::SIGTERM;
use signal_hook::flag;

const TIMEOUT: Duration = Duration::from_secs(10);

/// For a program that may exit from anywhere: the exit flush does not keep the core alive.
static CORE: OnceLock<Core> = OnceLock::new();

fn main() -> Result<(), Box<dyn Error>> {
    let ending = env::args().nth(1).ok_or("how to end?")?;
    let core = Core::new(SdkConfig::from_env()?.batch_size(10_000).build()?);
    core.initialize()?;
    // Delivers at the end of the scope: on a return, on `?`, on a panic that unwinds. Not on `process::exit`, an abort,
    // or an unhandled signal.
    let _guard = FlushGuard::shutting_down(&core, TIMEOUT);
    let stop = Arc::new(AtomicBool::new(false));
    // A second signal ends the process at once, whatever it waits for.
    flag::register_conditional_shutdown(SIGTERM, 128 + SIGTERM, Arc::clone(&stop))?;
    flag::register(SIGTERM, Arc::clone(&stop))?;

    for number in 0..100 {
        import(&core, number)?;
    }
    match ending.as_str() {
        "return" => Ok(()),
        "error" => Err("the last line is not a number".into()),
        "panic" => fail(),
        "exit" => {
            core.shutdown(TIMEOUT)?;
            process::exit(3)
        }
        "exit-after-a-registration" => {
            register_exit_flush(CORE.get_or_init(|| core.clone()), TIMEOUT)?;
            process::exit(3)
        }
        "exit-without-a-flush" => process::exit(3),
        "signal" => {
            println!("working");
            import_until(&stop, &core)
        }
        _ => Err("no such ending".into()),
    }
}

#[expect(clippy::panic, reason = "the ending to show")]
fn fail() -> Result<(), Box<dyn Error>> {
    panic!("a mistake in the import")
}

fn import(core: &Core, number: u32) -> Result<(), Box<dyn Error>> {
    core.create_context(format!("visitor-{number}"), ())?.track_conversion("purchase");
    Ok(())
}

/// Continues until it is asked to stop, and then finishes the current item.
fn import_until(stop: &AtomicBool, core: &Core) -> Result<(), Box<dyn Error>> {
    for number in 100.. {
        if stop.load(Ordering::Relaxed) {
            println!("stopped before {number}");
            break;
        }
        import(core, number)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
