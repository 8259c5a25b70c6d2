//! Both surfaces have the same names, and what waits on one is a future on the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How a method waits.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Waiting,
}

/// The public methods of one source file. Whether they wait is read from the documentation of synchronous ones and from
/// the signature of asynchronous ones.
fn methods(file: &str) -> BTreeMap<String, Kind> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let (mut methods, mut documentation) = (BTreeMap::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(documented) = line.strip_prefix("///") {
            documentation.push_str(documented);
            continue;
        }
        let asynchronous = line.strip_prefix("pub async fn ");
        let plain = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub const fn "));
        if let Some(signature) = asynchronous.or(plain) {
            let name = signature.split(['(', '<']).next().unwrap();
            let waits = asynchronous.is_some() || documentation.to_lowercase().contains("**waits**");
            methods.insert(name.to_owned(), if waits { Kind::Waiting } else { Kind::Plain });
        }
        if !line.starts_with("#[") {
            documentation.clear();
        }
    }
    methods
}

#[test]
fn every_core_method_exists_and_waiting_ones_are_futures() {
    let (sync, asynchronous) = (methods("core.rs"), methods("asynchronous/core.rs"));
    // Calls a data store: documented to do so on the caller's thread.
    let waits_too = ["create_context", "decide_many", "initialize_within"];
    let mut waiting = 0;
    for (name, kind) in &sync {
        let waits = *kind == Kind::Waiting || waits_too.contains(&name.as_str());
        let expected = if waits { Kind::Waiting } else { Kind::Plain };
        assert_eq!(asynchronous.get(name), Some(&expected), "{name}");
        waiting += usize::from(waits);
    }
    assert_eq!(waiting, 9);
}

#[test]
fn every_waiting_context_method_is_a_future() {
    let asynchronous = methods("asynchronous/context.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/context");
    let mut waiting = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let name = format!("context/{}", file.unwrap().file_name().to_str().unwrap());
        let waits = methods(&name).into_iter().filter(|(_, kind)| *kind == Kind::Waiting);
        waiting.extend(waits.map(|(name, _)| name));
    }
    waiting.sort();
    assert_eq!(waiting, ["set_preview", "track_conversion_confirmed"]);
    for name in waiting {
        assert_eq!(asynchronous.get(&name), Some(&Kind::Waiting), "{name}");
    }
}
