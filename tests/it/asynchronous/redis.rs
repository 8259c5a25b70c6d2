//! The store on Redis, against the part of its protocol that the store needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_sdk::{
    ConversionOptions, ConversionStatus, DecisionSource, adapters::RedisDataStore, attributes,
    ports::AsyncDataStore,
};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::{block_on, start_async};
use crate::support::{PATIENCE, direct_to, serve};

/// A value, and the milliseconds that it was given to live.
type Values = Arc<Mutex<BTreeMap<String, (String, Option<String>)>>>;

/// A Redis of six commands.
struct Server {
    address: SocketAddr,
    values: Values,
    /// How many commands it reads before it answers them.
    batch: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, values) = (listener.local_addr().unwrap(), Values::default());
        let batch = Arc::new(AtomicUsize::new(1));
        let (shared, batches) = (Arc::clone(&values), Arc::clone(&batch));
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (values, batch) = (Arc::clone(&shared), Arc::clone(&batches));
                std::thread::spawn(move || talk(stream.unwrap(), &values, &batch));
            }
        });
        Self { address, values, batch }
    }

    fn store(&self, runtime: &Runtime) -> RedisDataStore {
        let client = redis::Client::open(format!("redis://{}/", self.address)).unwrap();
        let config = ConnectionManagerConfig::new().set_number_of_retries(1);
        let connection = ConnectionManager::new_with_config(client, config);
        RedisDataStore::new(runtime.block_on(connection).unwrap(), runtime.handle().clone())
    }

    fn value(&self, key: &str) -> Option<(String, Option<String>)> {
        self.values.lock().unwrap().get(key).cloned()
    }
}

/// Answers commands until the client hangs up.
fn talk(stream: TcpStream, values: &Values, batch: &AtomicUsize) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut answers = Vec::new();
    while let Some(command) = read(&mut reader) {
        answers.push(answer(&command, values));
        if answers.len() < batch.load(Ordering::SeqCst) {
            continue;
        }
        if writer.write_all(std::mem::take(&mut answers).concat().as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut number = |prefix: char| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        line.trim_end().strip_prefix(prefix)?.parse::<usize>().ok()
    };
    let count = number('*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length: usize = line.trim_end().strip_prefix('$')?.parse().ok()?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(length);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

fn answer(command: &[String], values: &Values) -> String {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut values = values.lock().unwrap();
    match words[..] {
        ["GET", key] => match values.get(key) {
            Some((value, _)) => format!("${}\r\n{value}\r\n", value.len()),
            None => "$-1\r\n".to_owned(),
        },
        ["MGET", ref keys @ ..] => {
            let found = keys.iter().map(|key| match values.get(*key) {
                Some((value, _)) => format!("${}\r\n{value}\r\n", value.len()),
                None => "$-1\r\n".to_owned(),
            });
            format!("*{}\r\n{}", keys.len(), found.collect::<String>())
        }
        ["EXISTS", key] => format!(":{}\r\n", u8::from(values.contains_key(key))),
        ["DEL", key] => format!(":{}\r\n", u8::from(values.remove(key).is_some())),
        ["SET", key, ..] if words.last() == Some(&"NX") && values.contains_key(key) => "$-1\r\n".to_owned(),
        ["SET", _, "broken", ..] | ["SET", _, "\"broken\"", ..] => "-ERR no room for the key\r\n".to_owned(),
        ["SET", key, value, ref options @ ..] => {
            let life = options.iter().skip_while(|word| **word != "PX").nth(1);
            values.insert(key.to_owned(), (value.to_owned(), life.map(|life| (*life).to_owned())));
            "+OK\r\n".to_owned()
        }
        // What clients say about themselves.
        _ => "+OK\r\n".to_owned(),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn each_call_is_one_command() {
    let (server, runtime) = (Server::start(), runtime());
    let store = server.store(&runtime);
    // Not in the runtime: the commands run there, and this thread only waits.
    block_on(async {
        assert_eq!(store.get("k").await, Ok(None));
        assert_eq!(store.has("k").await, Ok(false));
        store.set("k", json!({"a": [1, "ü"]}), None).await.unwrap();
        assert_eq!(store.get("k").await, Ok(Some(json!({"a": [1, "ü"]}))));
        assert_eq!(store.has("k").await, Ok(true));
        assert_eq!(store.set_if_absent("k", json!(1), None).await, Ok(false));
        store.delete("k").await.unwrap();
        store.delete("k").await.unwrap();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(store.set_if_absent("k", json!(true), minute).await, Ok(true));
        assert_eq!(server.value("k"), Some(("true".to_owned(), Some("60000".to_owned()))));
        store.set("k", json!(2), Some(Duration::ZERO)).await.unwrap();
        assert_eq!(server.value("k"), Some(("2".to_owned(), Some("1".to_owned()))));
    });
}

#[test]
fn a_batch_is_one_round_trip_with_an_answer_for_each_key() {
    let (server, runtime) = (Server::start(), runtime());
    let store = server.store(&runtime).with_prefix("p:");
    let minute = Duration::from_secs(60);
    block_on(async {
        // No command of a batch is answered before the last one is there.
        server.batch.store(3, Ordering::SeqCst);
        assert_eq!(store.claim_many(&["a", "b", "a"], minute).await, [Ok(true), Ok(true), Ok(false)]);
        assert_eq!(server.value("p:a"), Some(("true".to_owned(), Some("60000".to_owned()))));
        let entries = [("b", json!(1)), ("c", json!("broken")), ("d", json!([2]))];
        let set = store.set_many(&entries, None).await;
        assert!(matches!(&set[..], [Ok(()), Err(_), Ok(())]), "{set:?}");
        assert_eq!(server.value("p:b"), Some(("1".to_owned(), None)));
        server.batch.store(1, Ordering::SeqCst);
        let read = store.get_many(&["b", "c", "d"]).await;
        assert_eq!(read, [Ok(Some(json!(1))), Ok(None), Ok(Some(json!([2])))]);
        server.batch.store(4, Ordering::SeqCst);
        assert_eq!(store.delete_many(&["a", "b", "c", "d"]).await, [Ok(()), Ok(()), Ok(()), Ok(())]);
        assert!(server.values.lock().unwrap().is_empty());
        // Nothing is asked for nothing.
        assert!(store.get_many(&[]).await.is_empty() && store.delete_many(&[]).await.is_empty());
    });
    runtime.shutdown_background();
    let gone = block_on(store.claim_many(&["a", "b"], minute));
    assert!(gone.len() == 2 && gone.iter().all(|answer| answer.is_err()), "{gone:?}");
}

#[test]
fn of_several_who_set_at_once_one_succeeds() {
    let (server, runtime) = (Server::start(), runtime());
    let store = server.store(&runtime);
    let wins = std::thread::scope(|scope| {
        let one = || scope.spawn(|| block_on(store.set_if_absent("mark", json!(true), None)).unwrap());
        let all: Vec<_> = (0..8).map(|_| one()).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(wins, 1);
}

#[test]
fn a_failure_names_neither_key_nor_value() {
    let (server, runtime) = (Server::start(), runtime());
    let store = server.store(&runtime);
    block_on(async {
        let error = store.set("secret-key", json!("broken"), None).await.unwrap_err();
        assert!(!error.to_string().contains("key") && !error.to_string().contains("broken"), "{error}");
        server.values.lock().unwrap().insert("bad".to_owned(), ("no json".to_owned(), None));
        assert_eq!(store.get("bad").await.unwrap_err().to_string(), "data store: a value is no JSON");
    });
    runtime.shutdown_background();
    assert_eq!(block_on(store.get("k")).unwrap_err().to_string(), "data store: the runtime is gone");
}

#[test]
fn visitors_are_remembered_from_one_process_to_the_next() {
    let (server, runtime, emulator) = (Server::start(), runtime(), serve());
    let config = || direct_to(&emulator).async_data_store(server.store(&runtime).with_prefix("convert:"));
    let core = start_async(config());
    block_on(async {
        let visitor = core.create_context("v", attributes! { "plan" => "pro" }).await.unwrap();
        assert!(visitor.run_experience("price").is_ok());
        assert!(visitor.track_conversion("purchase").tracked());
        assert_eq!(core.shutdown(PATIENCE).await.unwrap().stats.store_failures, 0);
    });
    assert!(server.value(r#"convert:state:["v"]"#).is_some());
    let core = start_async(config());
    block_on(async {
        let visitor = core.create_context("v", attributes! { "plan" => "pro" }).await.unwrap();
        assert_eq!(visitor.run_experience("price").unwrap().source(), DecisionSource::Stored);
        let plain = ConversionOptions::new();
        let again = visitor.track_conversion_confirmed("purchase", &plain, PATIENCE).await;
        assert_eq!(again.status, ConversionStatus::Deduplicated);
    });
}
