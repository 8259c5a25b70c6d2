//! An OpenFeature provider for Convert Experiences: [`ConvertProvider`] answers the clients of the `open-feature` crate
//! with the decisions of `convert-sdk`, made in-process.
//!
//! ```
//! use convert_sdk::{AsyncCore, SdkConfig};
//! use convert_sdk_openfeature::ConvertProvider;
//! use open_feature::{EvaluationContext, OpenFeature};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let core = AsyncCore::new(SdkConfig::server("10035569/10034190").build()?);
//! core.initialize().await?;
//! let provider = ConvertProvider::new(core);
//! OpenFeature::singleton_mut().await.set_provider(provider.clone()).await;
//!
//! let client = OpenFeature::singleton().await.create_client();
//! let visitor = EvaluationContext::default().with_targeting_key("visitor-1").with_custom_field("age", 30);
//! let is_on = client.get_bool_value("checkout-form", Some(&visitor), None).await.unwrap_or(false);
//! # let _ = is_on;
//! # Ok(())
//! # }
//! ```
//!
//! The tables at [`ConvertProvider`] say what flag keys mean, and how contexts, reasons and errors are
//! translated.

mod details;
mod provider;
mod tracking;
mod value;
mod visitor;

pub use provider::ConvertProvider;
pub use tracking::TrackingEventDetails;

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
