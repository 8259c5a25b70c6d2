//! Configs from files, which never touch the network.

use std::io::{self, Write as _};
use std::path::Path;

use convert_evaluation::config::{BucketOrder, CompileOptions, Compiled, ConfigSnapshot, compile};
use convert_sdk::{Core, SdkConfig};
use serde_json::Value;

use crate::args::EvaluateArgs;
use crate::chart::{NAME, counted, short};
use crate::error::{Failure, Flaw};
use crate::input;

/// The most experiences that are named because they are not active.
const MOST_STOPPED: usize = 20;

/// A core for a config file, which only decides; says what [`snapshot`] says.
pub(crate) fn core(args: &EvaluateArgs, max_visitors: usize) -> Result<Core, Failure> {
    let text = snapshot(&args.config, BucketOrder::default())?.served_text().to_owned();
    let mut config = SdkConfig::builder().data_json(text).max_visitors(max_visitors).tracking(false);
    if let Some(environment) = &args.shared.environment {
        config = config.environment(environment.as_str());
    }
    let config = config.build();
    // The command's options are named like the SDK's.
    let config = config.map_err(|error| Flaw::of(format!("--{}", error.field()), error.reason()))?;
    let core = Core::new(config);
    core.initialize().map_err(|error| Flaw::of(args.config.display().to_string(), error))?;
    Ok(core)
}

/// A config file to decide with; says on standard error which parts of it are not used.
pub(crate) fn snapshot(path: &Path, bucket_order: BucketOrder) -> Result<ConfigSnapshot, Failure> {
    let name = path.display().to_string();
    let options = CompileOptions { bucket_order, ..CompileOptions::default() };
    let compiled = compile(input::read_json(path)?, &options);
    let Compiled { snapshot, warnings, more_warnings } = compiled.map_err(|error| Flaw::of(&name, error))?;
    let mut err = io::stderr().lock();
    for warning in warnings {
        // If this fails, there is nobody left to tell.
        let _ = writeln!(err, "warning: {name}: {warning}");
    }
    if more_warnings > 0 {
        let _ = writeln!(err, "warning: {name}: {more_warnings} more warnings");
    }
    for stopped in stopped(snapshot.served_text()) {
        let _ = writeln!(err, "warning: {name}: {stopped}");
    }
    Ok(snapshot)
}

/// What is said of experiences that Convert would not have served. The SDK decides whatever is served, as the
/// JavaScript SDK does, so a status that was edited by hand stops nothing.
fn stopped(served: &str) -> Vec<String> {
    let config: Value = serde_json::from_str(served.trim_start_matches('\u{feff}')).unwrap_or_default();
    let experiences = config["experiences"].as_array().into_iter().flatten().enumerate();
    let stopped: Vec<_> = experiences
        .filter_map(|(position, experience)| {
            let status = experience["status"].as_str().filter(|status| !["", "active"].contains(status))?;
            let status = short(status, NAME);
            Some(format!(
                "experiences[{position}].status: is {status:?}, which stops nothing: Convert serves only active ones"
            ))
        })
        .collect();
    let rest = stopped.len().saturating_sub(MOST_STOPPED);
    let mut told: Vec<_> = stopped.into_iter().take(MOST_STOPPED).collect();
    if rest > 0 {
        told.push(format!("{} not active", counted(rest as u64, "more experience")));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::stopped;

    #[test]
    fn a_status_that_stops_nothing_is_told() {
        let config = r#"{"experiences":[{"status":"active"},{"status":"paused"},{"status":null},{}]}"#;
        assert_eq!(
            stopped(config),
            ["experiences[1].status: is \"paused\", which stops nothing: Convert serves only active ones"]
        );
        let many = format!(r#"{{"experiences":[{}]}}"#, vec![r#"{"status":"draft"}"#; 30].join(","));
        assert_eq!(stopped(&many).last().unwrap(), "10 more experiences not active");
    }
}
