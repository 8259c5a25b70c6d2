//! The same question in other vendors' configs and calls. Their configs are passed in here; none of them has a network.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::Value;

pub(crate) mod configcat;
pub(crate) mod eppo;
pub(crate) mod featureprobe;
pub(crate) mod growthbook;
pub(crate) mod launchdarkly;
pub(crate) mod openfeature;
pub(crate) mod optimizely;
pub(crate) mod statsig;
pub(crate) mod unleash;

fn parsed<T: serde::de::DeserializeOwned>(config: Value) -> T {
    match serde_json::from_value(config) {
        Ok(parsed) => parsed,
        Err(error) => unreachable!("a config of a peer: {error}"),
    }
}

/// The result of an asynchronous call that has nothing to wait for, without an executor's cost.
fn at_once<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("a peer waits for something"),
    }
}
