//! Convert Experiences for Rust: A/B tests, feature flags and personalization, decided in the
//! process with the answers of Convert's official SDKs, and reported without ever making the caller
//! wait.
//!
//! - **Start**: a [`SdkConfig`] makes a [`Core`]; [`Core::initialize`] puts the first config in place.
//! - **Decide**: [`Core::create_context`] makes a [`Context`] for one visitor, whose
//!   [`run_experience`](Context::run_experience) and [`run_feature`](Context::run_feature) are pure
//!   computations.
//! - **Record**: decisions record exposures by themselves;
//!   [`track_conversion`](Context::track_conversion) is one channel send, and counts once for each visitor and
//!   goal.
//! - **Deliver**: [`Core::flush`] waits for delivery and tells the truth about it;
//!   [`Core::shutdown`] ends well (dropping a core delivers nothing); [`Core::stats`] is the ledger at any time.
//!   Delivery is at least once: a request that ends without an answer is made again, and
//!   [`Stats::fate_unknown`] counts those.
//! - **Watch**: [`Core::on`] and [`Core::subscribe`] give lifecycle events, and the
//!   [`diagnose_*`](Context::diagnose_experience) calls say why.
//! - **Replace**: a [`ConfigSource`](ports::ConfigSource), an [`EventSink`](ports::EventSink) and a
//!   [`DataStore`](ports::DataStore) of the application's own.
//! - **Await**: with the feature `async`, `AsyncCore` and `AsyncContext` stand beside [`Core`] and
//!   [`Context`], with futures for any executor wherever those wait.
//!
//! ```
//! use std::time::Duration;
//! use convert_sdk::{Core, SdkConfig, attributes};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let source = SdkConfig::builder().data_json(include_str!("../examples/shop.json"));
//! # #[cfg(any())]
//! let source = SdkConfig::server("10035569/10034190");
//! let core = Core::new(source.build()?);
//! core.initialize()?;
//!
//! let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
//! assert_eq!(visitor.run_experience("checkout")?.variation_key(), "one-page");
//! # #[cfg(any())]
//! visitor.track_conversion("purchase");
//! # let core = Core::new(SdkConfig::builder().data_json(include_str!("../examples/shop.json")).build()?);
//!
//! core.shutdown(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! Decisions follow Convert's JavaScript SDK; names, statuses and deduplication follow the Python
//! SDK. **One difference will surprise**: where variation ids are numbers that do not ascend in the
//! config, the JavaScript SDK and this one put a visitor into another variation than the Python and
//! PHP SDKs do, because JavaScript objects order such keys by number. [`BucketOrder::Config`](config::BucketOrder::Config) gives
//! the other order.
//!
//! What is logged goes through the `log` facade and never holds a key, a secret or anything about a
//! visitor. The HTTP client below, ureq, logs whole request lines at `trace` level, and with them the
//! SDK key and the debug token: keep the targets `ureq` and `ureq_proto` at `debug`.
//!
//! # Where things are
//! The root has what a program names. What is set besides [`SdkConfig`] itself is in [`config`] and [`delivery`], which
//! also has the parts of [`Stats`]; what can be replaced is in [`ports`], and what stands there by default
//! in [`adapters`]; [`events`], [`diagnosis`] and [`error`] have what their names say.
//!
//! # Types of other crates
//! Few types of other crates are part of this API, and so of its version promise: text is [`SmolStr`]
//! (`smol_str` 0.3), which dereferences to `str`; JSON is `serde_json::Value` (1); with the feature `async` a
//! subscription is a `futures_core::Stream` (0.3). With the feature `serde` results, statistics, reasons,
//! events and errors are `serde::Serialize` (1); a visitor's id is then written as a hash.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "threads"),
    expect(dead_code, unused_imports, reason = "nothing drives the machines")
)]

// First, for its macro.
#[macro_use]
mod caught;

#[cfg(feature = "threads")]
pub mod adapters;
#[cfg(feature = "async")]
mod asynchronous;
mod attributes;
pub mod config;
#[cfg(feature = "threads")]
mod context;
#[cfg(feature = "threads")]
mod core;
mod diagnostics;
mod engine;
pub mod error;
#[cfg(feature = "threads")]
mod exit_flush;
mod flush;
#[cfg(feature = "threads")]
mod handles;
pub mod http;
mod options;
pub mod ports;
mod results;
#[cfg(feature = "threads")]
mod shared;
#[cfg(feature = "threads")]
mod threads;
#[cfg(feature = "threads")]
mod visitors;

use convert_evaluation::decide;

#[cfg(feature = "async")]
pub use asynchronous::{AsyncContext, AsyncCore};
#[cfg(feature = "threads")]
pub use context::{Context, ConversionOptions, RunOptions};
pub use convert_evaluation::decide::{DecisionSource, Undecided};
pub use convert_evaluation::{
    AttributeValue, Attributes, PreviewParam, SmolStr, attributes, parse_preview_param,
};
#[cfg(feature = "threads")]
pub use core::{Core, CoreBuilder};
pub use engine::{GoalDataKey, GoalValue, Stats};
pub use error::{ContextError, InitializeError};
#[cfg(feature = "threads")]
pub use exit_flush::{FlushGuard, register_exit_flush};
pub use flush::FlushError;
#[cfg(feature = "threads")]
pub use handles::{ExperienceHandle, FeatureHandle, GoalHandle, KeyOr};
pub use options::{InvalidOption, SdkConfig, SdkConfigBuilder};
pub use results::{
    ConversionResult, ConversionStatus, CustomSegmentsResult, ExperienceResult, FeatureOff, FeatureResult,
    OwnedExperienceResult, OwnedFeatureResult,
};

/// How recorded events are kept and sent, and what the ledger says of them.
pub mod delivery {
    pub use crate::engine::{
        BreakerState, ByClass, DeliveryError, Dropped, FlushReport, PendingPlaces, ReleaseReason,
    };
    pub use crate::flush::FlushOptions;
    pub use crate::options::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
}

/// Why something did or did not resolve: what the `diagnose_*` calls of a `Context` answer.
pub mod diagnosis {
    pub use convert_evaluation::decide::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};

    pub use crate::diagnostics::{
        DiagnosticReason, EntityDiagnostic, ExperienceDiagnostic, FeatureDiagnostic, GoalDiagnostic,
    };
}

/// What the SDK tells an application about itself, through `Core::on` and `Core::subscribe`.
pub mod events {
    pub use crate::engine::{LifecycleEvent, LifecycleEventKind, VisitorId};
    #[cfg(feature = "async")]
    pub use crate::threads::EventStream;
    #[cfg(feature = "threads")]
    pub use crate::threads::Subscription;
}

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
