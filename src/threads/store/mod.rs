//! The store's thread, the way to it, and the threads that wait for the store.

mod call;
mod handle;
mod run;

#[cfg(test)]
pub(crate) use call::perform;
pub(crate) use handle::{StoreHandle, StoreSettings};
