//! The application's asynchronous clients, wrapped for the SDK's threads.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::deadline_after;
use super::drive::{Driver, Stopped};
use crate::ports::{
    AsyncConfigSource, AsyncDataStore, AsyncEventSink, BoxFuture, ConfigRequest, ConfigResponse,
    ConfigSource, DataStore, DeliveryFailure, EventBatch, EventSink, Receipt, StoreError, TransportError,
};

/// How long a thread is lent to one store call: a client whose runtime is gone would never answer.
const STORE_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An asynchronous source, sink or both.
pub(crate) struct Driven<P> {
    port: P,
    driver: Driver,
}

impl<P> Driven<P> {
    pub(crate) fn new(port: P) -> Self {
        Self { port, driver: Driver::new() }
    }

    fn run<R>(&self, future: BoxFuture<'_, R>, timeout: Duration) -> Result<R, TransportError> {
        self.driver.block_on(future, deadline_after(timeout)).map_err(|stopped| match stopped {
            Stopped::Late => TransportError::Timeout("waiting for the answer"),
            Stopped::Interrupted => TransportError::Interrupted,
        })
    }
}

impl<P: AsyncConfigSource> ConfigSource for Driven<P> {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.run(self.port.fetch_config(request), request.timeout)?
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.run(self.port.fetch_experience(request, experience_id), request.timeout)?
    }

    fn interrupt(&self) {
        self.driver.interrupt();
    }

    fn after_fork(&self) {
        self.port.after_fork();
    }
}

impl<P: AsyncEventSink> EventSink for Driven<P> {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        self.run(self.port.deliver(batch), batch.timeout).map_err(DeliveryFailure::Unknown)?
    }

    fn interrupt(&self) {
        self.driver.interrupt();
    }

    fn after_fork(&self) {
        self.port.after_fork();
    }
}

/// An asynchronous store, wrapped for the tracker and synchronous callers.
pub(crate) struct DrivenStore {
    store: Arc<dyn AsyncDataStore>,
    driver: Driver,
}

impl DrivenStore {
    pub(crate) fn new(store: Arc<dyn AsyncDataStore>) -> Self {
        Self { store, driver: Driver::new() }
    }

    fn run<T>(&self, future: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        self.driver
            .block_on(future, deadline_after(STORE_CALL_TIMEOUT))
            .unwrap_or_else(|stopped| Err(why(&stopped)))
    }

    /// Like [`run`](Self::run), for this many answers.
    fn run_all<T>(
        &self,
        asked: usize,
        future: BoxFuture<'_, Vec<Result<T, StoreError>>>,
    ) -> Vec<Result<T, StoreError>> {
        let given = self.driver.block_on(future, deadline_after(STORE_CALL_TIMEOUT));
        given.unwrap_or_else(|stopped| (0..asked).map(|_| Err(why(&stopped))).collect())
    }
}

fn why(stopped: &Stopped) -> StoreError {
    StoreError::new(match stopped {
        Stopped::Late => "timed out",
        Stopped::Interrupted => "interrupted",
    })
}

impl DataStore for DrivenStore {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.run(self.store.get(key))
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.run(self.store.set(key, value, ttl))
    }

    fn has(&self, key: &str) -> Result<bool, StoreError> {
        self.run(self.store.has(key))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.run(self.store.delete(key))
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        self.run(self.store.set_if_absent(key, value, ttl))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        self.run_all(keys.len(), self.store.get_many(keys))
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        self.run_all(entries.len(), self.store.set_many(entries, ttl))
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        self.run_all(keys.len(), self.store.claim_many(keys, lease))
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        self.run_all(keys.len(), self.store.delete_many(keys))
    }

    fn after_fork(&self) {
        self.store.after_fork();
    }
}
