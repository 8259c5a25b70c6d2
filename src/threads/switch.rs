//! Ends waits on other threads, once and for good.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

/// Waits select on it; switched off it disconnects, for those who wait and for those who come later.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Taken when it is switched off, which disconnects `off`.
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

    pub(crate) fn is_off(&self) -> bool {
        self.off.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Has no message ever, but an end.
    pub(crate) const fn off(&self) -> &Receiver<()> {
        &self.off
    }
}
