//! For the tests of applications, with the feature `testing`: a config in a few lines, decided by the real engine;
//! variations forced by key; and what was recorded, to assert on without waiting. No network, no files, and no thread
//! unless the test asks for one, such as by a handler.
//!
//! ```toml
//! [dev-dependencies]
//! convert-sdk = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use convert_sdk::testing::{Rule, TestData, TestExperience};
//! use convert_sdk::{Core, attributes};
//!
//! // What is tested: a function of the application.
//! fn checkout(core: &Core, visitor: &str, age: u32) -> String {
//!     let Ok(visitor) = core.create_context(visitor, attributes! { "age" => age }) else { return "original".into() };
//!     visitor.track_conversion("checkout-seen");
//!     visitor.run_experience("checkout").map_or("original", |it| it.variation_key()).into()
//! }
//!
//! let test = TestData::new()
//!     .audience("adults", Rule::at_least("age", 18))
//!     .experience(TestExperience::new("checkout").audience("adults").variation("original").variation("one-page"))
//!     .goal("checkout-seen")
//!     .start()?;
//!
//! // The rules hold, as in production.
//! assert_eq!(checkout(&test, "child", 12), "original");
//! assert!(test.exposures_of("child").is_empty());
//!
//! test.force("checkout", "one-page")?;
//! assert_eq!(checkout(&test, "visitor-1", 30), "one-page");
//! assert_eq!(test.exposures_of("visitor-1"), [("checkout", "one-page")]);
//! assert_eq!(test.conversions_of("visitor-1"), ["checkout-seen"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A whole config, as Convert serves it, does too: [`TestCore::from_json`]. For tests against a real server over HTTPS,
//! with delays and failures, there is the crate `convert-emulator`.

mod data;
mod recorded;
mod rule;
mod start;

pub use data::{TestData, TestExperience};
pub use recorded::{Recorded, RecordedConversion, RecordedExposure};
pub use rule::Rule;
pub use start::{TestCore, TestCoreError};
