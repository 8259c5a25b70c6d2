//! Decisions of Convert Experiences: a served config, a visitor and attributes in, a variation and the
//! reasons out, with the answers of Convert's official JavaScript SDK.
//!
//! Everything here is a pure computation: no thread, clock, lock, channel, socket, file or log. What
//! fetches configs, remembers visitors and reports exposures is `convert-sdk`, which is built on this
//! crate and is the one for applications. This crate is for decisions elsewhere: in WebAssembly, in a
//! game loop, behind another language's interface.
//!
//! ```
//! use convert_evaluation::config::{CompileOptions, SnapshotExt, compile};
//! use convert_evaluation::decide::{Facts, Decision, decide_experience, explain_experience};
//! use convert_evaluation::attributes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let served = include_str!("../../../examples/shop.json").to_owned();
//! # #[cfg(any())]
//! let served = std::fs::read_to_string("config.json")?;
//! let config = compile(served, &CompileOptions::default())?.snapshot;
//! let position = config.experience_index("checkout").ok_or("no such experience")?;
//!
//! let attributes = attributes! { "age" => 30 };
//! let facts = Facts::new("visitor-4", &attributes);
//! let Ok(Decision { variation, .. }) = decide_experience(&config, position, &facts) else {
//!     return Err("no variation".into());
//! };
//! assert_eq!(config.experiences()[position].variations[variation].key, "one-page");
//!
//! let (_, why) = explain_experience(&config, position, &facts);
//! assert_eq!(why.outcome, "hashed");
//! # Ok(())
//! # }
//! ```
//!
//! [`Facts`](decide::Facts) also takes what is stored for the visitor, a location, an environment and
//! custom segments. Text is [`SmolStr`], which dereferences to `str`.

mod attributes;
pub mod config;
pub mod decide;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod js;
mod murmur;
mod preview;
mod short;

pub use attributes::{AttributeValue, Attributes, AttributesExt};
pub use preview::{PreviewParam, parse_preview_param};
pub use smol_str::SmolStr;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
