//! AWS Lambda: the config once for each cold start, a flush at the end of each invocation.
//!
//! Between invocations the process is frozen, so nothing may be left to a timer or to the exit: what is
//! not delivered before the response may never be. The conversion is delivered with it or, where the
//! endpoint fails, kept for the flush of the next invocation.

use std::time::Duration;

use convert_sdk::{AsyncCore, delivery::FlushOptions};
use convert_sdk_web::config_from_env;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// One attempt for each invocation: the next one tries again, and the caller waits for this one.
const ONCE: FlushOptions = FlushOptions::within(Duration::from_secs(2)).single_attempt(true);

#[derive(Deserialize)]
struct Purchase {
    visitor_id: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let core = AsyncCore::new(config_from_env()?.build()?);
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
