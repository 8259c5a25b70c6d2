//! Interrupts waits on other threads, permanently.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Waits select on it; when switched off it disconnects, for current and later waits.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Taken when switched off, which disconnects `off`.
    on: Mutex<Option<Sender<()>>>,
    off: Receiver<()>,
}

impl Switch {
    pub(crate) fn new() -> Self {
        let (on, off) = bounded(0);
        Self { on: Mutex::new(Some(on)), off }
    }

    pub(crate) fn switch_off(&self) {
        drop(self.on.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    #[cfg(feature = "https")]
    pub(crate) fn is_off(&self) -> bool {
        self.off.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Never has a message, only disconnects.
    pub(crate) const fn off(&self) -> &Receiver<()> {
        &self.off
    }
}
