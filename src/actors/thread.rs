//! Starting a named thread, and joining it with a deadline.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, current};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};

use crate::error::StartError;

/// A running thread of the SDK.
pub(crate) struct Worker {
    name: &'static str,
    /// Disconnects when the thread's body has ended.
    ended: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread whose name is visible from outside.
    pub(crate) fn start(
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StartError> {
        let (running, ended) = bounded::<()>(0);
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped when the body has returned or panicked.
                let _running = running;
                body();
            })
            .map_err(|error| StartError(error.kind()))?;
        Ok(Self { name, ended, thread: Mutex::new(Some(thread)) })
    }

    /// Whether the thread's body has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Waits until the thread has ended and says whether it has. A thread that joins itself (a
    /// handler that closes the core) does not wait.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = thread.as_ref() else { return true };
        if handle.thread().id() == current().id() {
            return false;
        }
        if self.ended.recv_deadline(deadline) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            log::warn!("{} did not end in time", self.name);
            return false;
        }
        if let Some(handle) = thread.take()
            && handle.join().is_err()
        {
            log::error!("{} panicked", self.name);
        }
        true
    }
}
