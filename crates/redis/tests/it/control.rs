//! Controls a test's server.

use crate::server::{Redis, serve, until_ready};

impl Redis {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Restarts it after a kill, on its port, with its files and these settings.
    pub(crate) fn restart(&mut self, settings: &[&str]) {
        self.process = serve(self.port, &self.folder, settings).unwrap();
        until_ready(&mut self.process).unwrap();
    }

    /// The test's own connection.
    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// A number from `INFO`.
    pub(crate) fn info(connection: &mut redis::Connection, name: &str) -> u64 {
        let info: String = redis::cmd("INFO").query(connection).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().parse().unwrap()
    }
}
