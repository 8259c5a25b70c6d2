//! A program that evaluates with OpenFeature, and knows Convert only where it starts, tracks and ends.

use std::{error::Error, time::Duration};

use convert_sdk::{AsyncCore, SdkConfig};
use convert_sdk_openfeature::ConvertProvider;
use open_feature::{EvaluationContext, OpenFeature};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let core = AsyncCore::new(SdkConfig::from_env()?.for_server().build()?);
    core.initialize().await?;
    let provider = ConvertProvider::new(core);
    OpenFeature::singleton_mut().await.set_provider(provider.clone()).await;

    let client = OpenFeature::singleton().await.create_client();
    for number in 0..10 {
        let visitor = EvaluationContext::default().with_targeting_key(format!("visitor-{number}"));
        let shown = client.get_string_value("experience:homepage-headline", Some(&visitor), None).await;
        println!("{}", shown.as_deref().unwrap_or("original"));
        provider.track("purchase", Some(&visitor), None).await;
    }
    let report = provider.shutdown(Duration::from_secs(5)).await?;
    println!("{} delivered", report.stats.delivered);
    Ok(())
}
