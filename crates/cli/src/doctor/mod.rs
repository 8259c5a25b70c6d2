//! `doctor`: why this machine gets no config, or sends no events.

mod check;
mod examine;
mod probe;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::time::Duration;

use convert_sdk::{ConversionStatus, Core, SdkConfig};
use serde_json::json;

use self::check::{Check, Finding};
use self::examine::{Settings, examine};
use crate::Verdict;
use crate::args::DoctorArgs;
use crate::error::Failure;

/// The visitor of the test conversion.
const VISITOR: &str = "convert-cli-doctor";
/// The time limit for its delivery.
const DELIVERY: Duration = Duration::from_secs(15);

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<Verdict, Failure> {
    let mut checks = Vec::new();
    match config() {
        Ok(config) => {
            let settings = Settings::of(config.transport());
            checks.push(Check::ok("settings", settings.summary()));
            examine(&settings, &mut checks);
            if let Some(goal) = &args.send {
                checks.push(send(config, goal));
            }
        }
        Err(reason) => {
            let advice = "The SDK's `SdkConfig::from_env` lists the variables that are read.";
            checks.push(Check::failed("settings", reason, advice));
        }
    }
    let is_well = checks.iter().all(|check| check.result != Finding::Failed);
    let mut out = io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{}", json!({"ok": is_well, "checks": checks}))
    } else {
        check::write(&mut out, &checks)
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(if is_well { Verdict::Good } else { Verdict::Bad })
}

/// The configuration from the environment.
fn config() -> Result<SdkConfig, String> {
    let builder = SdkConfig::from_env().map_err(|error| error.to_string())?;
    builder.build().map_err(|error| error.to_string())
}

/// Tracks one conversion through the SDK.
fn send(config: SdkConfig, goal: &str) -> Check {
    const NAME: &str = "conversion";
    let core = Core::new(config);
    if let Err(error) = core.initialize() {
        return Check::failed(NAME, format!("not tracked: {error}"), "The SDK itself needs a config first.");
    }
    let context = match core.create_context(VISITOR, ()) {
        Ok(context) => context,
        Err(error) => return Check::failed(NAME, error.to_string(), "This is a defect of the SDK."),
    };
    match context.track_conversion(goal).status {
        ConversionStatus::Queued => {}
        ConversionStatus::GoalNotFound => {
            let detail = format!("the config has no goal with the key `{goal}`");
            return Check::failed(NAME, detail, "Goals are found by their keys, not by their names.");
        }
        status => return Check::failed(NAME, format!("not tracked: {status:?}"), "Choose another goal."),
    }
    match core.shutdown(DELIVERY) {
        Ok(_) => Check::ok(NAME, format!("`{goal}` by the visitor `{VISITOR}` was delivered")),
        Err(error) => Check::failed(NAME, error.to_string(), "See the checks above; the event is lost."),
    }
}
