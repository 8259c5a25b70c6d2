//! A start from the config cache while the endpoint is down, and what of it is reading and compiling.

use std::time::Instant;

use convert_sdk::{Core, SdkConfig};

use super::support::endpoint::Endpoint;
use super::support::project::project;

/// In milliseconds.
const BAR: f64 = 50.0;

pub(crate) fn print(rounds: usize) {
    let path = std::env::temp_dir().join(format!("convert-starts-{}", std::process::id()));
    let core = |config: Option<String>| {
        let settings = SdkConfig::builder().sdk_key("shop/key").config_cache(&path).build().ok();
        let endpoint = Endpoint { config, hang: None };
        settings.and_then(|settings| Core::builder(settings).transport(endpoint).build().ok())
    };
    let timed = |core: Option<Core>| {
        let Some(core) = core else { unreachable!("a valid configuration") };
        let start = Instant::now();
        assert!(core.initialize().is_ok(), "the generated config");
        let took = start.elapsed().as_secs_f64() * 1e3;
        // Waits for the file.
        core.close();
        took
    };
    println!("\n{:<60} {:>10} {:>10} {:>10} {:>8}", "ms to a first config", "min", "median", "max", "bar");
    for experiments in [100, 1_000] {
        let text = project(experiments, 2);
        let [mut fetched, mut cached] = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            fetched.push(timed(core(Some(text.clone()))));
            cached.push(timed(core(None)));
        }
        let kilobytes = text.len() / 1_000;
        super::print(&format!("{experiments} experiments ({kilobytes} kB), fetched at once"), &fetched, "");
        let verdict = if super::median(&cached) <= BAR { "" } else { "  above" };
        let rest = format!("{BAR:>9.2}{verdict}");
        super::print(&format!("{experiments} experiments ({kilobytes} kB), from the cache"), &cached, &rest);
    }
    for file in ["", ".lock"] {
        let mut name = path.clone().into_os_string();
        name.push(file);
        let _ = std::fs::remove_file(name);
    }
}
