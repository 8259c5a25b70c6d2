//! A job worker on apalis: a flush at the end of each job, so that a finished job's events are delivered.
//!
//! The argument says how many jobs to put into the queue, which is in memory here; a queue in a database
//! keeps what a stopped worker leaves. SIGTERM lets the jobs at hand end.

use std::env;
use std::error::Error;
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{Data, MemoryStorage, TaskSink, WorkerBuilder, WorkerError};
use convert_sdk::Core;
use convert_sdk_web::config_from_env;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

/// Jobs at once; each waits for its own delivery.
const CONCURRENCY: usize = 4;
/// What the delivery may add to a job.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

async fn record_purchase(order: u32, core: Data<Core>) -> Result<(), Box<dyn Error + Send + Sync>> {
    core.create_context(format!("visitor-{order}"), ())?.track_conversion("purchase");
    let core = Core::clone(&core);
    // An error fails the job. Where the queue tries it again, this process counts the conversion once.
    spawn_blocking(move || core.flush(FLUSH_TIMEOUT)).await??;
    println!("done {order}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut stop = signal(SignalKind::terminate())?;
    let jobs: u32 = env::args().nth(1).ok_or("how many jobs?")?.parse()?;
    let core = Core::new(config_from_env()?.build()?);
    let starting = core.clone();
    spawn_blocking(move || starting.initialize()).await??;

    let mut queue = MemoryStorage::new();
    for order in 0..jobs {
        queue.push(order).await?;
    }
    WorkerBuilder::new("orders")
        .backend(queue)
        .concurrency(CONCURRENCY)
        .data(core.clone())
        .build(record_purchase)
        .run_until(async move {
            stop.recv().await;
            Ok::<(), WorkerError>(())
        })
        .await?;
    spawn_blocking(move || core.shutdown(FLUSH_TIMEOUT)).await??;
    Ok(())
}
