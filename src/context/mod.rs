//! One visitor: who they are, what is known of them, and what can be asked about them.

mod convert;
mod decisions;
mod diagnose;
mod entities;
mod evaluate;
mod many;
mod options;
mod preview;
mod visitor;

use std::sync::Arc;

use smol_str::SmolStr;

use self::decisions::Decisions;
use self::preview::Preview;
use crate::attributes::{Attributes, Measured};
use crate::config::ConfigSnapshot;
use crate::shared::Shared;

pub use convert::ConversionOptions;
pub use options::RunOptions;

pub(crate) use many::decide_unseen;
#[cfg(feature = "async")]
pub(crate) use visitor::recall;
pub(crate) use visitor::recall_blocking;

/// One visitor and the config of the moment in which the context was created.
///
/// Evaluation is a pure computation on the caller's thread: no lock, no I/O, no wait. Whatever is
/// decided is remembered by the context at once, and by the visitor's later contexts. `Send` and
/// `Sync`; evaluations take `&self`, changes to the visitor take `&mut self`.
///
/// A clone is cheap, and shares the core, the config and the visitor's segments. It has its own copy of the
/// decisions, attributes, location and preview of the moment: what changes in one afterwards does not in the
/// other, though later contexts of the visitor see both.
///
/// ```
/// # use convert_sdk::{Core, SdkConfig, attributes};
/// # let core = include!("../../tests/doc/small.rs");
/// let visitor = core
///     .create_context("visitor-1", attributes! { "plan" => "pro" })?
///     .with_location(attributes! { "url" => "https://example.com/checkout" });
/// let shown = visitor.run_experiences();
/// assert_eq!(shown.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
    snapshot: Arc<ConfigSnapshot>,
    visitor_id: SmolStr,
    /// The keyed hash of the id, where memory was asked for the visitor.
    visitor_hash: Option<u64>,
    /// Attributes given at creation and set later, report keys apart.
    attributes: Attributes,
    /// The part of them that outlives the context.
    persistent: Measured,
    /// Report keys, recorded custom segments among them.
    segments: Measured,
    /// The part of them that outlives the context, where a preview has set others.
    held_apart: Option<Measured>,
    /// Attributes and segments, merged, where a data store has given attributes that are report keys.
    merged: Option<Attributes>,
    location: Attributes,
    decisions: Decisions,
    /// The data store did not answer when it was asked for decisions.
    guessing: bool,
    preview: Option<Preview>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("attributes", &self.attributes)
            .field("location", &self.location)
            .field("preview", &self.preview.is_some())
            .finish_non_exhaustive()
    }
}
