//! What the serving thread and the emulator's owner share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_rustls::rustls::ServerConfig;

use crate::fault::PendingFaults;
use crate::projects::Projects;
use crate::recorder::Recorder;

/// Receives every log line: one per request, and warnings.
pub(crate) type LogSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Shared state; every lock is held for a moment and never two at a time.
pub(crate) struct State {
    projects: Mutex<Projects>,
    faults: Mutex<PendingFaults>,
    tls: Mutex<Arc<ServerConfig>>,
    pub(crate) recorder: Recorder,
    pub(crate) max_body: usize,
    log: Option<LogSink>,
}

impl State {
    pub(crate) fn new(
        projects: Projects,
        tls: Arc<ServerConfig>,
        recorder: Recorder,
        max_body: usize,
        log: Option<LogSink>,
    ) -> Self {
        Self {
            projects: Mutex::new(projects),
            faults: Mutex::default(),
            tls: Mutex::new(tls),
            recorder,
            max_body,
            log,
        }
    }

    pub(crate) fn projects(&self) -> MutexGuard<'_, Projects> {
        lock(&self.projects)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, PendingFaults> {
        lock(&self.faults)
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.tls))
    }

    pub(crate) fn replace_tls(&self, config: Arc<ServerConfig>) {
        *lock(&self.tls) = config;
    }

    pub(crate) fn log(&self, line: &str) {
        if let Some(log) = &self.log {
            log(line);
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").finish_non_exhaustive()
    }
}

/// A panic elsewhere must not stop the record from being read, so poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
