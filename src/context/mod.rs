//! One visitor: identity, what is known about them, and the calls that evaluate for them.

mod convert;
mod decisions;
mod diagnose;
mod entities;
mod evaluate;
mod many;
mod missing;
mod options;
mod preview;
mod visitor;

use smol_str::SmolStr;

use self::decisions::Decisions;
use self::preview::Preview;
use crate::attributes::{Attributes, Measured};
use crate::config::{Answers, ConfigSnapshot};
use crate::shared::Shared;
use crate::stripes::Handle;
use crate::visitors::Place;

pub use convert::ConversionOptions;
pub use options::RunOptions;

pub(crate) use many::decide_unseen;
pub(crate) use missing::absent;
#[cfg(feature = "async")]
pub(crate) use visitor::recall;
pub(crate) use visitor::recall_blocking;

/// One visitor, with the config that was current when the context was created.
///
/// Evaluation is a pure computation on the caller's thread: no lock, no I/O, no wait. Decisions are remembered at
/// once, by this context and the visitor's later ones. `Send` and `Sync`; evaluations take `&self`, changes to the
/// visitor take `&mut self`.
///
/// A clone is cheap, and shares the core, the config and the visitor's segments. It has its own copy of the current
/// decisions, attributes, location and preview: later changes to one do not affect the other, though later contexts
/// of the visitor see both.
///
/// ```
/// use convert_sdk::attributes;
///
/// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/small.rs"));
/// let visitor = core
///     .create_context("visitor-1", attributes! { "plan" => "pro" })?
///     .with_location(attributes! { "url" => "https://example.com/checkout" });
/// let shown = visitor.run_experiences();
/// assert_eq!(shown.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Context {
    shared: Handle<Shared>,
    snapshot: Handle<ConfigSnapshot>,
    visitor_id: SmolStr,
    /// Where memory has the visitor, if it was asked.
    visitor_place: Option<Place>,
    /// Attributes given at creation and set later, except report keys.
    attributes: Attributes,
    /// The part of them that outlives the context.
    persistent: Measured,
    /// Report keys, including recorded custom segments.
    segments: Measured,
    /// What attributes and segments have answered to rules; cleared with each change of them.
    answers: Answers,
    location: Attributes,
    decisions: Decisions,
    rare: Option<Box<Rare>>,
    /// The data store did not answer the read of decisions.
    guessing: bool,
    /// A preview is on, or hooks are to be told: one check for both, where it is hot.
    is_watched: bool,
}

/// What few contexts have.
#[derive(Clone, Default)]
struct Rare {
    preview: Option<Preview>,
    /// The part of the segments that outlives the context, if a preview has set others.
    held_apart: Option<Measured>,
    /// Attributes and segments, merged, if a data store returned attributes that are report keys.
    merged: Option<Attributes>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("attributes", &self.attributes)
            .field("location", &self.location)
            .field("preview", &self.is_preview())
            .finish_non_exhaustive()
    }
}
