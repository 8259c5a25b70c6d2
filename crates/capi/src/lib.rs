//! The SDK for C: opaque handles, texts with lengths, status codes. Generates `include/convert.h`.

#![expect(
    unsafe_code,
    reason = "the one crate whose callers no compiler checks: exported names, and what pointers come in"
)]

mod attributes;
mod border;
mod context;
mod core;
mod explain;
mod features;
mod handles;
mod log;
mod options;
mod pump;
mod run;
mod stats;
mod status;
mod text;
mod track;
mod user;
mod watch;

pub use self::attributes::{ConvertAttribute, ConvertKind};
pub use self::border::{ConvertString, convert_string_free, convert_string_text};
pub use self::context::*;
pub use self::core::*;
pub use self::explain::*;
pub use self::features::*;
pub use self::handles::*;
pub use self::log::*;
pub use self::options::{ConvertAcceptCallback, ConvertConfig, ConvertHeader};
pub use self::pump::*;
pub use self::run::*;
pub use self::stats::*;
pub use self::status::*;
pub use self::text::ConvertText;
pub use self::track::*;
pub use self::user::ConvertRelease;
pub use self::watch::*;
