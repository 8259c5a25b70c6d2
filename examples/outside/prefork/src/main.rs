//! Pre-forked workers: the master loads the config, and each worker decides, records and delivers on its own.

use std::error::Error;
use std::time::Duration;

use convert_sdk::{Core, SdkConfig};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

const WORKERS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::new(SdkConfig::from_env()?.for_server().build()?);
    core.initialize()?;
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        // SAFETY: glibc keeps memory, threads and sockets usable in the child, and so does the SDK with its own.
        match unsafe { fork() }? {
            ForkResult::Child => return work(&core, worker),
            ForkResult::Parent { child } => workers.push(child),
        }
    }
    for worker in workers {
        if !matches!(waitpid(worker, None)?, WaitStatus::Exited(_, 0)) {
            return Err("a worker has failed".into());
        }
    }
    Ok(())
}

fn work(core: &Core, worker: usize) -> Result<(), Box<dyn Error>> {
    for job in (worker..10).step_by(WORKERS) {
        let visitor = core.create_context(format!("visitor-{job}"), ())?;
        let shown = visitor.run_experience("homepage-headline").map_or("original", |it| it.variation_key());
        println!("job {job} by worker {worker}: {shown}");
        visitor.track_conversion("purchase");
    }
    println!("{} delivered", core.shutdown(Duration::from_secs(5))?.stats.delivered);
    Ok(())
}
