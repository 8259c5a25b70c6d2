//! The store for tokio: the same commands, as tasks of the application's runtime.

use std::time::Duration;

use convert_sdk::ports::AsyncDataStore;
use convert_sdk::{ConversionOptions, ConversionStatus, DecisionSource};
use convert_sdk_redis::{AsyncRedisStore, RedisStore};
use futures_executor::block_on;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::sdk::{PATIENCE, serve, start, to};
use crate::server::Redis;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn store(server: &Redis, prefix: &str, runtime: &Runtime) -> AsyncRedisStore {
    RedisStore::builder(&server.url()).prefix(prefix).build_async(runtime.handle().clone()).unwrap()
}

#[test]
fn every_call_returns_the_same_as_the_other_stores() {
    let Some(server) = Redis::start(&[]) else { return };
    let runtime = runtime();
    let store = store(&server, "p:", &runtime);
    // Outside the runtime: the commands run there, and this thread only waits.
    block_on(async {
        assert_eq!((store.get("k").await, store.has("k").await), (Ok(None), Ok(false)));
        store.set("k", json!({"a": [1, "ü"]}), None).await.unwrap();
        assert_eq!(store.get("k").await, Ok(Some(json!({"a": [1, "ü"]}))));
        assert_eq!(store.set_if_absent("k", json!(1), None).await, Ok(false));
        store.delete("k").await.unwrap();
        assert_eq!(store.set_if_absent("k", json!(true), Some(MINUTE)).await, Ok(true));
        assert_eq!(store.claim_many(&["a", "k", "a"], MINUTE).await, [Ok(true), Ok(false), Ok(false)]);
        let set = store.set_many(&[("a", json!(1)), ("b", json!([2]))], None).await;
        assert_eq!(set, [Ok(()), Ok(())]);
        let read = store.get_many(&["b", "c", "a"]).await;
        assert_eq!(read, [Ok(Some(json!([2]))), Ok(None), Ok(Some(json!(1)))]);
        assert_eq!(store.delete_many(&["a", "b", "k"]).await, [Ok(()), Ok(()), Ok(())]);
        assert!(store.get_many(&[]).await.is_empty() && store.delete_many(&[]).await.is_empty());
    });
    assert_eq!(redis::cmd("DBSIZE").query::<u32>(&mut server.connect()).unwrap(), 0);
}

#[test]
fn a_stopped_runtime_is_an_error_for_each_key() {
    let Some(server) = Redis::start(&[]) else { return };
    let runtime = runtime();
    let store = store(&server, "", &runtime);
    runtime.shutdown_background();
    let gone = block_on(store.claim_many(&["a", "b"], MINUTE));
    assert!(gone.len() == 2 && gone.iter().all(|answer| answer.is_err()), "{gone:?}");
    assert_eq!(block_on(store.get("k")).unwrap_err().to_string(), "data store: the runtime has shut down");
}

#[test]
fn the_next_process_remembers_visitors() {
    let Some(server) = Redis::start(&[]) else { return };
    let (runtime, emulator) = (runtime(), serve());
    let core = || start(to(&emulator).async_data_store(store(&server, "convert:", &runtime))).to_async();
    let (first, plain) = (core(), ConversionOptions::new());
    block_on(async {
        let visitor = first.create_context("v", ()).await.unwrap();
        assert!(visitor.run_experience("homepage-headline").is_ok());
        assert!(visitor.track_conversion("purchase").tracked());
        first.shutdown(PATIENCE).await.unwrap();
    });
    assert_eq!(emulator.received().totals.events, 2);
    let second = core();
    block_on(async {
        let visitor = second.create_context("v", ()).await.unwrap();
        let decided = visitor.run_experience("homepage-headline").unwrap();
        assert_eq!(decided.source(), DecisionSource::Stored);
        let again = visitor.track_conversion_confirmed("purchase", &plain, PATIENCE).await;
        assert_eq!(again.status, ConversionStatus::Deduplicated);
    });
}
