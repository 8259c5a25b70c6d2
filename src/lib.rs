//! Convert Experiences for Rust: A/B tests, feature flags and personalization, decided in-process exactly as
//! Convert's official JavaScript SDK does, and reported without making the caller wait.
//!
//! - **Start**: a [`SdkConfig`] makes a [`Core`]; [`Core::initialize`] loads the first config.
//! - **Decide**: [`Core::create_context`] makes a [`Context`] for one visitor, whose
//!   [`run_experience`](Context::run_experience) and [`run_feature`](Context::run_feature) are pure
//!   computations.
//! - **Record**: decisions record exposures automatically; [`track_conversion`](Context::track_conversion) is one
//!   channel send, and counts once per visitor and goal.
//! - **Deliver**: [`Core::flush`] waits for delivery and reports the outcome; [`Core::shutdown`] flushes and closes
//!   (dropping a core delivers nothing); [`Core::stats`] is the ledger at any time. Delivery is at least once: a
//!   request that ends without a response is repeated, and [`Stats::fate_unknown`] counts such requests.
//! - **Watch**: [`Core::on`] and [`Core::subscribe`] give lifecycle events, [`CoreBuilder::on_evaluation`] every
//!   evaluation, and the [`diagnose_*`](Context::diagnose_experience) calls explain decisions; the feature `metrics`
//!   has the ledger for dashboards.
//! - **Test**: the feature `testing` has a core without a network or threads, forced variations, and what was recorded;
//!   [`offline`](SdkConfigBuilder::offline) keeps any core's events in the process.
//! - **Replace**: a [`ConfigSource`](ports::ConfigSource), an [`EventSink`](ports::EventSink) and a
//!   [`DataStore`](ports::DataStore) of your own.
//! - **Await**: with the feature `async`, `AsyncCore` and `AsyncContext` mirror [`Core`] and [`Context`], with
//!   futures for any executor wherever those wait.
//!
//! ```
//! use std::time::Duration;
//! use convert_sdk::{Core, SdkConfig, attributes};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let source = SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json")));
//! # #[cfg(any())]
//! let source = SdkConfig::server("10035569/10034190");
//! let core = Core::new(source.build()?);
//! core.initialize()?;
//!
//! let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
//! let shown = visitor.run_experience("checkout").map_or("original", |it| it.variation_key());
//! assert_eq!(shown, "one-page");
//! # #[cfg(any())]
//! visitor.track_conversion("purchase");
//! # let core = Core::new(SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?);
//!
//! core.shutdown(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! Decisions follow Convert's JavaScript SDK; names, statuses and deduplication follow the Python
//! SDK. **One difference may surprise you**: if an experience's numeric variation ids are not in ascending order in
//! the config, the JavaScript SDK and this one can bucket a visitor into another variation than the Python and PHP
//! SDKs, because JavaScript objects order such keys by number. [`BucketOrder::Config`](config::BucketOrder::Config)
//! selects the other order.
//!
//! Logging goes through the `log` facade, or with the feature `tracing` to the subscriber as events and spans, and never
//! contains a key, a secret or visitor data. The underlying HTTP
//! client, ureq, logs whole request lines at `trace` level, including the SDK key and the debug token: keep the
//! targets `ureq` and `ureq_proto` at `debug`.
//!
//! # Where things are
//! The root has what most programs name. Settings other than [`SdkConfig`] itself are in [`config`] and [`delivery`],
//! which also has the parts of [`Stats`]; replaceable parts are in [`ports`], and their default implementations in
//! [`adapters`]; [`events`], [`diagnosis`] and [`error`] are what their names say.
//!
//! # Types of other crates
//! Few types of other crates are part of this API, and so of its version promise: strings are [`SmolStr`] (`smol_str`
//! 0.3), which dereferences to `str`; JSON is `serde_json::Value` (1); with the feature `async`, a subscription is a
//! `futures_core::Stream` (0.3). With the feature `serde`, results, statistics, reasons, events, warnings and the
//! errors of a core implement `serde::Serialize` (1); a visitor's id is then serialized as a hash.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "threads"),
    expect(dead_code, unused_imports, reason = "nothing drives the machines")
)]

// First, because it defines a macro.
#[macro_use]
mod telemetry;

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
#[cfg(feature = "threads")]
mod hooks;
pub mod http;
#[cfg(feature = "metrics")]
pub mod metrics;
mod options;
pub mod ports;
#[cfg(feature = "threads")]
pub mod pump;
mod results;
#[cfg(feature = "threads")]
mod runtime;
#[cfg(feature = "threads")]
mod shared;
mod stripes;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "threads")]
mod threads;
#[cfg(feature = "threads")]
mod turns;
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

/// How recorded events are queued and sent, and how the ledger counts them.
pub mod delivery {
    pub use crate::engine::{
        BreakerState, ByClass, DeliveryError, Dropped, FlushReport, PendingPlaces, ReleaseReason,
    };
    pub use crate::flush::FlushOptions;
    pub use crate::options::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
}

/// The delivery machine for `convert-relay`, which paces and halves its requests as the SDK does. Not for applications,
/// and not part of the version promise.
#[doc(hidden)]
pub mod machine {
    pub use crate::engine::{CutLimit, Dispatch, Failure, Jitter, Moment, Parcel};
}

/// Why something did or did not resolve: the results of a context's `diagnose_*` calls.
pub mod diagnosis {
    pub use convert_evaluation::decide::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};

    pub use crate::diagnostics::{
        DiagnosticReason, EntityDiagnostic, ExperienceDiagnostic, FeatureDiagnostic, GoalDiagnostic,
    };
}

/// Lifecycle events of the SDK, delivered through `Core::on` and `Core::subscribe`.
pub mod events {
    pub use crate::engine::{LifecycleEvent, LifecycleEventKind, VisitorId};
    #[cfg(feature = "threads")]
    pub use crate::hooks::{Assigned, Evaluation};
    #[cfg(feature = "async")]
    pub use crate::threads::EventStream;
    #[cfg(feature = "threads")]
    pub use crate::threads::Subscription;
}

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The programs of the page on migrating compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/migrating.md")]
struct Migrating;

/// So does that of the page about loops.
#[cfg(doctest)]
#[doc = include_str!("../docs/loops.md")]
struct Loops;
