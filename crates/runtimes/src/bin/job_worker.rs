//! A job worker on apalis: a flush at the end of each job delivers a finished job's events.
//!
//! The argument is the number of jobs to queue, in memory here; a queue in a database keeps what a stopped worker
//! leaves. SIGTERM lets the jobs in progress finish; a second one ends the process at once.

use std::env;
use std::error::Error;
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{Data, MemoryStorage, TaskSink, WorkerBuilder, WorkerError};
use convert_sdk::{AsyncCore, SdkConfig, config::RefreshConfig};
use convert_sdk_web::{run_until, stop_signal};

/// Concurrent jobs; each waits for its own delivery.
const CONCURRENCY: usize = 4;
/// The most that the delivery may add to a job.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Half for the jobs in progress, the rest for events they could not deliver; shorter than the supervisor's grace
/// period.
const GRACE: Duration = Duration::from_secs(8);

async fn record_purchase(order: u32, core: Data<AsyncCore>) -> Result<(), Box<dyn Error + Send + Sync>> {
    core.create_context(format!("visitor-{order}"), ()).await?.track_conversion("purchase");
    // No reason to fail the job: undelivered events go out with the next job, or at the end.
    if let Err(error) = core.flush(FLUSH_TIMEOUT).await {
        eprintln!("{}: {error}", error.code());
    }
    println!("done {order}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut stop = stop_signal()?;
    let jobs: u32 = env::args().nth(1).ok_or("how many jobs?")?.parse()?;
    // Without a refresh, a stopped experience keeps running here until the next start.
    let core = AsyncCore::new(SdkConfig::from_env()?.refresh(RefreshConfig::default()).build()?);
    tokio::select! {
        ready = core.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }

    let mut queue = MemoryStorage::new();
    for order in 0..jobs {
        queue.push(order).await?;
    }
    let worker = WorkerBuilder::new("orders")
        .backend(queue)
        .concurrency(CONCURRENCY)
        .data(core.clone())
        .build(record_purchase);
    let (ended, delivered) = run_until(&core, stop, GRACE, |stopping| {
        worker.run_until(async {
            stopping.await;
            Ok::<(), WorkerError>(())
        })
    })
    .await;
    ended.transpose()?;
    delivered?;
    Ok(())
}
