//! The asynchronous surface: on every executor, without blocking any, with the same results as the other one.

mod actors;
mod cancelled;
mod events;
mod executors;
mod fetches;
#[cfg(unix)]
mod forks;
mod handles;
mod heartbeat;
mod names;
mod stores;
pub(crate) mod threads;
mod transports;

use convert_sdk::{AsyncCore, Core, SdkConfig, SdkConfigBuilder, ports::BoxFuture};

pub(crate) use self::executors::block_on;
use crate::support::{KEY, Script, start, start_scripted};

fn start_async(config: SdkConfigBuilder) -> AsyncCore {
    start(config).to_async()
}

fn start_async_scripted(config: SdkConfigBuilder) -> (AsyncCore, Script) {
    let (core, script) = start_scripted(config);
    (core.to_async(), script)
}

/// A core that is not ready, whose fetches the test answers by hand.
fn keyed_script() -> (AsyncCore, Script) {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    (core.to_async(), script)
}

/// Polls a future once, which must leave it pending.
pub(crate) fn poll_once<T>(future: &mut BoxFuture<'_, T>) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
}
