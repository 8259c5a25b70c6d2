//! The asynchronous surface: beside the synchronous one, over the same actors and the same decisions.

mod builder;
mod context;
mod core;

pub use context::AsyncContext;
pub use core::AsyncCore;
