//! Looks host names up for the built-in transport, on a thread that may be left behind.

use std::sync::mpsc::sync_channel;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

use crate::process::start_thread;

/// ureq's own lookup, but on a thread that begins and ends as those of the SDK do, so that no fork meets
/// it there; and a system that has no thread to give is an error here, where ureq would panic.
#[derive(Debug)]
pub(super) struct Lookup;

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (answer, answered) = sync_channel(1);
        let (uri, config) = (uri.clone(), config.clone());
        let unlimited = NextTimeout { after: Duration::NotHappening, ..timeout };
        start_thread("convert-lookup", move || {
            // Nobody may be waiting any more.
            let _ = answer.send(DefaultResolver::default().resolve(&uri, &config, unlimited));
        })?;
        answered.recv_timeout(*timeout.after).unwrap_or(Err(Error::Timeout(timeout.reason)))
    }
}

/// Finds no host.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Err(Error::HostNotFound)
    }
}
