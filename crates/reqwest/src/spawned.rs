//! Work on the application's runtime that can be awaited anywhere.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A task of the application's tokio runtime, so that it is polled where its sockets and timers are; dropping this
/// aborts it.
pub(crate) struct Spawned<T>(JoinHandle<T>);

/// Why a task did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Panicked,
    RuntimeGone,
}

impl<T: Send + 'static> Spawned<T> {
    pub(crate) fn on(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(runtime.spawn(work))
    }
}

impl<T> Future for Spawned<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Lost>> {
        let lost = |panicked| if panicked { Lost::Panicked } else { Lost::RuntimeGone };
        Pin::new(&mut self.0).poll(context).map_err(|error| lost(error.is_panic()))
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
