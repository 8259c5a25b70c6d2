//! The handle of a running emulator.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::builder::EmulatorBuilder;
use crate::fault::Fault;
use crate::port::Port;
use crate::received::Received;
use crate::server::{Command, Server};
use crate::state::State;
use crate::{CertificateAuthority, ConfigError, ServerCertificate, StartError, WaitTimeout};

/// A running emulator; dropping it closes every connection and joins its thread.
///
/// All calls are synchronous, and callable from several threads at once.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    authority: CertificateAuthority,
    https_port: u16,
    http_port: u16,
    /// Gone after `shutdown`; its end is the server's sign to stop.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Settings with their defaults: no project, free ports, a new authority.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    pub(crate) fn launch(
        state: Arc<State>,
        authority: CertificateAuthority,
        mut https: Port,
        mut http: Port,
    ) -> Result<Self, StartError> {
        let (https_port, http_port) = (https.number(), http.number());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        {
            let _entered = runtime.enter();
            https.open()?;
            http.open()?;
        }
        let (commands, inbox) = unbounded_channel();
        let server = Server::new(Arc::clone(&state), inbox, https, http);
        let thread = std::thread::Builder::new()
            .name("convert-emulator".to_owned())
            .spawn(move || runtime.block_on(server.run()))
            .map_err(StartError::Thread)?;
        Ok(Self { state, authority, https_port, http_port, commands: Some(commands), thread: Some(thread) })
    }

    /// `https://localhost:{port}`.
    #[must_use]
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.https_port)
    }

    /// `http://127.0.0.1:{port}`; also the base of both routes over plain HTTP.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The base of the config route over HTTPS, as an SDK wants it: `{base}/api/v1/config/{sdkKey}`.
    #[must_use]
    pub fn config_url(&self) -> String {
        self.https_url()
    }

    /// The base of the tracking route over HTTPS, as an SDK wants it: `{base}/track/{sdkKey}`.
    #[must_use]
    pub fn track_url(&self) -> String {
        format!("{}/v1", self.https_url())
    }

    /// The certificate that clients have to trust, as PEM text.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Writes [`ca_pem`](Self::ca_pem) to a file.
    ///
    /// # Errors
    ///
    /// The system's, if the file cannot be written.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    /// The authority, to share it with another emulator.
    #[must_use]
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Everything that arrived since the start or the last [`clear`](Self::clear).
    #[must_use]
    pub fn received(&self) -> Received {
        self.state.recorder.snapshot()
    }

    /// Forgets everything that arrived; faults and configs stay.
    pub fn clear(&self) {
        self.state.recorder.clear();
    }

    /// Blocks until at least `count` events are recorded, and returns the record of that moment.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` passes first.
    pub fn wait_for_events(&self, count: u64, timeout: Duration) -> Result<Received, WaitTimeout> {
        self.wait_until(timeout, |received| received.totals.events >= count)
    }

    /// Blocks until at least `count` requests have arrived; they may not have been answered yet.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` passes first.
    pub fn wait_for_requests(&self, count: u64, timeout: Duration) -> Result<Received, WaitTimeout> {
        self.wait_until(timeout, |received| received.totals.requests >= count)
    }

    /// Blocks until `done` accepts the record, and returns the record of that moment.
    ///
    /// It is asked at once and after every change, with the record locked: it must not call the emulator.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` passes first.
    pub fn wait_until(
        &self,
        timeout: Duration,
        done: impl FnMut(&Received) -> bool,
    ) -> Result<Received, WaitTimeout> {
        self.state.recorder.wait_until(timeout, done)
    }

    /// Adds a fault after those that are pending.
    pub fn inject(&self, fault: Fault) {
        self.state.faults().add(fault);
    }

    /// Drops every pending fault; requests that already hang go on hanging.
    pub fn clear_faults(&self) {
        self.state.faults().clear();
    }

    /// The pending faults in order, with the number of times that is left to each.
    #[must_use]
    pub fn pending_faults(&self) -> Vec<Fault> {
        self.state.faults().list()
    }

    /// Serves another config under this key from now on: JSON text, or a `serde_json::Value`.
    ///
    /// A project that came from a file no longer follows it. Events about earlier configs stay valid.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the key is unknown or the config is no JSON object; the config in use stays.
    pub fn set_config(&self, sdk_key: &str, config: impl ToString) -> Result<(), ConfigError> {
        let mut projects = self.state.projects();
        let project = projects.find(sdk_key).ok_or_else(|| ConfigError::UnknownKey(sdk_key.to_owned()))?;
        project.replace(config.to_string())
    }

    /// Shows another certificate on connections that are opened from now on.
    ///
    /// # Errors
    ///
    /// [`StartError::Certificate`] or [`StartError::Tls`] if it cannot be made.
    pub fn use_certificate(&self, certificate: ServerCertificate) -> Result<(), StartError> {
        self.state.replace_tls(self.authority.server_config(certificate)?);
        Ok(())
    }

    /// Closes every connection, idle ones and hanging requests too, and goes on listening.
    pub fn close_connections(&self) {
        self.ask(Command::CloseConnections);
    }

    /// Closes every connection and refuses new ones until [`go_online`](Self::go_online).
    ///
    /// The ports stay taken, so that no other program can answer in between.
    pub fn go_offline(&self) {
        self.ask(Command::GoOffline);
    }

    /// Listens again on the same ports, with the same projects, faults and record.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] if the system does not let it.
    pub fn go_online(&self) -> Result<(), StartError> {
        self.ask(Command::GoOnline).unwrap_or(Ok(()))
    }

    /// Closes every connection and joins the thread; the record can still be read. Dropping does the same.
    pub fn shutdown(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the serving thread has been printed by then and must not become another one here.
            let _ = thread.join();
        }
    }

    /// Sends a command and waits for its answer; `None` after a shutdown.
    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        self.commands.as_ref()?.send(command(reply)).ok()?;
        answer.recv().ok()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shutdown();
    }
}
