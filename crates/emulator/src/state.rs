//! What the serving thread and the emulator's owner share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_rustls::rustls::ServerConfig;

use crate::ConfigError;
use crate::fault::PendingFaults;
use crate::projects::{Projects, ServedProject};
use crate::recorder::Recorder;

/// Receives every log line: one per request, and warnings.
pub(crate) type LogSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Shared state; every lock is held briefly, and never two at a time.
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
        let state = Self {
            projects: Mutex::new(projects),
            faults: Mutex::default(),
            tls: Mutex::new(tls),
            recorder,
            max_body,
            log,
        };
        let unserved: Vec<_> = state.projects().iter().filter_map(ServedProject::unserved).collect();
        unserved.iter().for_each(|line| state.log(line));
        state
    }

    pub(crate) fn projects(&self) -> MutexGuard<'_, Projects> {
        lock(&self.projects)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, PendingFaults> {
        lock(&self.faults)
    }

    /// Serves a different config under this key from now on, and tells of the project what `tell` does.
    ///
    /// A project without a key of its own has another one then, if the ids of the new config differ.
    pub(crate) fn set_config<T>(
        &self,
        sdk_key: &str,
        text: String,
        tell: impl FnOnce(&ServedProject) -> T,
    ) -> Result<T, ConfigError> {
        let mut projects = self.projects();
        let project = projects.find(sdk_key).ok_or_else(|| ConfigError::UnknownKey(sdk_key.to_owned()))?;
        project.replace(text)?;
        let told = tell(project);
        let unserved = project.unserved();
        drop(projects);
        if let Some(line) = unserved {
            self.log(&line);
        }
        self.recorder.changed_elsewhere();
        Ok(told)
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

/// A panic elsewhere must not make the record unreadable, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
