//! Work spawned on the application's runtime and awaited from anywhere.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A task on the application's tokio runtime, where its sockets and timers live; aborted on drop.
pub(crate) struct Spawned<T>(JoinHandle<T>);

/// Why a task did not finish.
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
