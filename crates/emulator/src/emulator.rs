//! The handle of a running emulator.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::fault::Fault;
use crate::port::Port;
use crate::received::Received;
use crate::server::{Command, Server};
use crate::state::State;
use crate::{CertificateAuthority, ConfigError, ServerCertificate, StartError, WaitTimeout};

/// A running emulator; dropping it closes every connection and joins its thread.
///
/// All methods are synchronous and can be called from several threads at once.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    authority: CertificateAuthority,
    https_port: u16,
    http_port: u16,
    /// `None` after `shutdown`; dropping it tells the server to stop.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
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

    /// `http://127.0.0.1:{port}`; also the base URL of both routes over plain HTTP.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The page to open in a browser, over plain HTTP: what is served and received, and buttons for every fault.
    #[must_use]
    pub fn page_url(&self) -> String {
        format!("{}/__admin/", self.http_url())
    }

    /// The base URL of the config route over HTTPS, in the form an SDK expects: `{base}/api/v1/config/{sdkKey}`.
    #[must_use]
    pub fn config_url(&self) -> String {
        self.https_url()
    }

    /// The base URL of the tracking route over HTTPS, in the form an SDK expects: `{base}/track/{sdkKey}`.
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
    /// The system's error if the file cannot be written.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    /// The authority, to share with another emulator.
    #[must_use]
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Everything received since the start or the last [`clear`](Self::clear).
    #[must_use]
    pub fn received(&self) -> Received {
        self.state.recorder.snapshot()
    }

    /// Clears the record; faults and configs stay.
    pub fn clear(&self) {
        self.state.recorder.clear();
    }

    /// Blocks until at least `count` events are recorded, and returns the record at that moment.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` elapses first.
    pub fn wait_for_events(&self, count: u64, timeout: Duration) -> Result<Received, WaitTimeout> {
        self.wait_until(timeout, |received| received.totals.events >= count)
    }

    /// Blocks until at least `count` requests have arrived, whether answered yet or not.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` elapses first.
    pub fn wait_for_requests(&self, count: u64, timeout: Duration) -> Result<Received, WaitTimeout> {
        self.wait_until(timeout, |received| received.totals.requests >= count)
    }

    /// Blocks until `done` accepts the record, and returns the record at that moment.
    ///
    /// `done` is called at once and after every change, with the record locked, so it must not call the emulator.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if `timeout` elapses first.
    pub fn wait_until(
        &self,
        timeout: Duration,
        done: impl FnMut(&Received) -> bool,
    ) -> Result<Received, WaitTimeout> {
        self.state.recorder.wait_until(timeout, done)
    }

    /// Adds a fault behind the pending ones.
    pub fn inject(&self, fault: Fault) {
        self.state.faults().add(fault);
        self.state.recorder.changed_elsewhere();
    }

    /// Drops every pending fault; requests that already hang keep hanging.
    pub fn clear_faults(&self) {
        self.state.faults().clear();
        self.state.recorder.changed_elsewhere();
    }

    /// The pending faults in order, with the number of times each has left.
    #[must_use]
    pub fn pending_faults(&self) -> Vec<Fault> {
        self.state.faults().list()
    }

    /// Serves a different config under this key from now on: JSON text, or a `serde_json::Value`.
    ///
    /// A project loaded from a file no longer follows that file. Events about earlier configs stay valid.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the key is unknown or the config is not a JSON object; the current config then stays.
    pub fn set_config(&self, sdk_key: &str, config: impl ToString) -> Result<(), ConfigError> {
        self.state.set_config(sdk_key, config.to_string(), |_| ())
    }

    /// Presents a different certificate on new connections.
    ///
    /// # Errors
    ///
    /// [`StartError::Certificate`] or [`StartError::Tls`] if it cannot be created.
    pub fn use_certificate(&self, certificate: ServerCertificate) -> Result<(), StartError> {
        self.state.replace_tls(self.authority.server_config(certificate)?);
        Ok(())
    }

    /// Closes every connection, including idle ones and hanging requests, and keeps listening.
    pub fn close_connections(&self) {
        self.ask(Command::CloseConnections);
    }

    /// Closes every connection and refuses new ones until [`go_online`](Self::go_online).
    ///
    /// The ports stay bound, so that no other program can answer in between.
    pub fn go_offline(&self) {
        self.ask(Command::GoOffline);
    }

    /// Listens again on the same ports, with the same projects, faults and record.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] if the system refuses.
    pub fn go_online(&self) -> Result<(), StartError> {
        self.ask(Command::GoOnline).unwrap_or(Ok(()))
    }

    /// Closes every connection and joins the thread; the record stays readable. Dropping does the same.
    pub fn shutdown(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the serving thread has already been printed and must not become another one here.
            let _ = thread.join();
        }
    }

    /// Sends a command and waits for its reply; `None` after a shutdown.
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
