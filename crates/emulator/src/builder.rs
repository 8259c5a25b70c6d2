//! The emulator's settings, and how it is started.

use std::fmt;
use std::sync::Arc;

use crate::emulator::Emulator;
use crate::port::Port;
use crate::project::Project;
use crate::projects::Projects;
use crate::recorder::Recorder;
use crate::state::{LogSink, State};
use crate::{CertificateAuthority, ServerCertificate, StartError};

/// The default number of requests kept in the record.
const DEFAULT_REQUEST_HISTORY: usize = 10_000;
/// The default limit on a request body, in bytes.
const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// Settings of an [`Emulator`]; see [`Emulator::builder`].
#[derive(Default)]
#[must_use = "nothing is served before start"]
pub struct EmulatorBuilder {
    projects: Vec<Project>,
    https_port: u16,
    http_port: u16,
    authority: Option<CertificateAuthority>,
    certificate: ServerCertificate,
    max_body: Option<usize>,
    request_history: Option<usize>,
    log: Option<LogSink>,
}

impl Emulator {
    /// Settings with their defaults: no project, free ports, a new authority.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }
}

impl EmulatorBuilder {
    /// Adds a project to serve; without any, every SDK key is unknown.
    pub fn project(mut self, project: Project) -> Self {
        self.projects.push(project);
        self
    }

    /// The port of the HTTPS listener; 0, the default, picks a free one.
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// The port of the plain HTTP listener; 0, the default, picks a free one.
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// Signs with this authority; by default every emulator creates its own.
    pub fn authority(mut self, authority: CertificateAuthority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// The certificate that the HTTPS listener presents first; a valid one by default.
    pub fn certificate(mut self, certificate: ServerCertificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// The largest request body accepted, 1 MiB by default; larger ones get 413.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// The number of requests kept in the record, 10 000 by default; totals and events are kept without limit.
    pub fn request_history(mut self, requests: usize) -> Self {
        self.request_history = Some(requests);
        self
    }

    /// Passes every log line to `log` on the serving thread: one per request, and warnings.
    ///
    /// Nothing is logged by default. Secrets are masked.
    pub fn log_to(mut self, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// Reads the configs, binds the ports and starts serving on its own thread.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left running then.
    pub fn start(self) -> Result<Emulator, StartError> {
        let projects = Projects::load(self.projects)?;
        let authority = self.authority.map_or_else(CertificateAuthority::generate, Ok)?;
        let tls = authority.server_config(self.certificate)?;
        let (https, http) = (Port::reserve(self.https_port)?, Port::reserve(self.http_port)?);
        let recorder = Recorder::new(self.request_history.unwrap_or(DEFAULT_REQUEST_HISTORY));
        let max_body = self.max_body.unwrap_or(DEFAULT_MAX_BODY);
        let state = State::new(projects, tls, recorder, max_body, self.log);
        Emulator::launch(Arc::new(state), authority, https, http)
    }
}

impl fmt::Debug for EmulatorBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmulatorBuilder").finish_non_exhaustive()
    }
}
