//! Both stores, for the tests of what both promise.

use std::sync::Arc;

use convert_sdk::SdkConfigBuilder;
#[cfg(feature = "async")]
use convert_sdk::ports::AsyncDataStore;
use convert_sdk::ports::{DataStore, StoreError};
#[cfg(feature = "async")]
use convert_sdk_redis::AsyncRedisStore;
use convert_sdk_redis::{RedisStore, RedisStoreBuilder};
use serde_json::Value;

pub(crate) trait Kind: Send + Sync + 'static {
    fn build(builder: RedisStoreBuilder) -> Self;
    fn add_to(&self, config: SdkConfigBuilder) -> SdkConfigBuilder;
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError>;
    fn set(&self, key: &str) -> Result<(), StoreError>;
}

impl Kind for Arc<RedisStore> {
    fn build(builder: RedisStoreBuilder) -> Self {
        Self::new(builder.build().unwrap())
    }

    fn add_to(&self, config: SdkConfigBuilder) -> SdkConfigBuilder {
        config.shared_data_store(Self::clone(self))
    }

    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        DataStore::get(&**self, key)
    }

    fn set(&self, key: &str) -> Result<(), StoreError> {
        DataStore::set(&**self, key, true.into(), None)
    }
}

/// The asynchronous store, on a runtime of its own.
#[cfg(feature = "async")]
pub(crate) struct OnTokio {
    store: AsyncRedisStore,
    runtime: tokio::runtime::Runtime,
}

#[cfg(feature = "async")]
impl Kind for OnTokio {
    fn build(builder: RedisStoreBuilder) -> Self {
        let runtime = crate::asynchronous::runtime();
        Self { store: builder.build_async(runtime.handle().clone()).unwrap(), runtime }
    }

    fn add_to(&self, config: SdkConfigBuilder) -> SdkConfigBuilder {
        config.async_data_store(self.store.clone())
    }

    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.runtime.block_on(self.store.get(key))
    }

    fn set(&self, key: &str) -> Result<(), StoreError> {
        self.runtime.block_on(self.store.set(key, true.into(), None))
    }
}

/// A test of each kind for every function of this name, which takes the kind as its parameter.
macro_rules! for_both {
    ($($test:ident)*) => {
        mod blocking {
            $(#[test] fn $test() { super::$test::<std::sync::Arc<convert_sdk_redis::RedisStore>>(); })*
        }
        #[cfg(feature = "async")]
        mod on_tokio {
            $(#[test] fn $test() { super::$test::<crate::kinds::OnTokio>(); })*
        }
    };
}
pub(crate) use for_both;
