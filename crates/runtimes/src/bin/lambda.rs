//! AWS Lambda: the config once per cold start, a flush at the end of each invocation.
//!
//! Between invocations the process is frozen, so nothing may depend on a timer or on the exit: what is not delivered
//! before the response may never be. The conversion is delivered before it or, if the endpoint fails, kept for the
//! flush of the next invocation.

use std::time::Duration;

use convert_sdk::{AsyncCore, SdkConfig, delivery::FlushOptions};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// One attempt per invocation: the next one retries, and the caller waits for this one.
const ONCE: FlushOptions = FlushOptions::within(Duration::from_secs(2)).single_attempt(true);

#[derive(Deserialize)]
struct Purchase {
    visitor_id: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let core = AsyncCore::new(SdkConfig::from_env()?.build()?);
    core.initialize().await?;
    run(service_fn(|event| handle(core.clone(), event))).await
}

async fn handle(core: AsyncCore, event: LambdaEvent<Purchase>) -> Result<Value, Error> {
    let visitor = core.create_context(event.payload.visitor_id, ()).await?;
    let headline = visitor.run_experience("homepage-headline").map(|it| it.variation_key().to_owned());
    visitor.track_conversion("purchase");
    let delivered = match core.flush_with(ONCE).await {
        Ok(report) => report.delivered,
        Err(error) => {
            eprintln!("{}: {error}", error.code());
            0
        }
    };
    Ok(json!({ "headline": headline, "delivered": delivered }))
}
