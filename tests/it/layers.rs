//! Holds `ARCHITECTURE.md` to its word: who may import whom, and what is absent where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `src/`, and what each may import of the others (`crate::NAME`).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "actors",
        &[
            "caught",
            "config",
            "deadline",
            "diagnostics",
            "error",
            "events",
            "flush",
            "options",
            "process",
            "secret",
            "state",
            "tracking",
            "transport",
        ],
    ),
    (
        "asynchronous",
        &[
            "actors",
            "attributes",
            "config",
            "context",
            "core",
            "deadline",
            "error",
            "events",
            "flush",
            "handles",
            "options",
            "results",
            "shared",
            "state",
            "tracking",
            "transport",
        ],
    ),
    ("attributes", &[]),
    ("caught", &[]),
    ("config", &[]),
    (
        "context",
        &[
            "actors",
            "attributes",
            "config",
            "deadline",
            "decide",
            "diagnostics",
            "error",
            "events",
            "handles",
            "results",
            "shared",
            "state",
            "tracking",
        ],
    ),
    (
        "core",
        &[
            "actors",
            "attributes",
            "config",
            "context",
            "deadline",
            "error",
            "events",
            "flush",
            "handles",
            "options",
            "process",
            "results",
            "shared",
            "tracking",
            "transport",
        ],
    ),
    ("deadline", &[]),
    ("diagnostics", &["decide"]),
    ("drive", &["process", "switch"]),
    ("error", &["config", "transport"]),
    ("events", &["config", "diagnostics", "tracking", "transport"]),
    ("exit", &["actors", "core", "deadline", "error", "flush", "process", "shared", "tracking"]),
    ("flush", &["deadline", "tracking"]),
    ("handles", &["config"]),
    ("options", &["config", "secret", "state"]),
    ("process", &["caught"]),
    ("results", &["config", "decide"]),
    ("secret", &[]),
    (
        "shared",
        &[
            "actors",
            "caught",
            "config",
            "deadline",
            "error",
            "flush",
            "options",
            "process",
            "state",
            "tracking",
            "transport",
        ],
    ),
    ("spawned", &[]),
    ("state", &["attributes", "caught", "deadline", "drive", "process"]),
    ("switch", &[]),
    ("tracking", &["attributes", "transport"]),
    ("transport", &["caught", "deadline", "drive", "options", "process", "spawned", "switch"]),
];

/// Texts that may stand only in these files or folders of `src/`.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("ureq", &["transport/http.rs", "transport/dial.rs", "options/network.rs"]),
    ("arc_swap", &["config.rs", "shared.rs", "process/", "actors/"]),
    ("crossbeam_channel", &["actors/", "drive.rs", "switch.rs", "transport/dial.rs"]),
    ("futures_core", &["actors/notifier/stream.rs"]),
    ("reqwest::", &["transport/mod.rs", "transport/reqwest.rs"]),
    ("redis::", &[]),
    ("tokio::", &["spawned.rs", "transport/reqwest.rs"]),
    ("std::thread", &["actors/thread.rs", "process/"]),
    ("Builder::new", &["process/threads.rs"]),
    (
        "Mutex",
        &[
            "shared.rs",
            "switch.rs",
            "actors/thread.rs",
            "actors/inbox.rs",
            "actors/notifier.rs",
            "actors/wait/",
            "process/per_process.rs",
            "tracking/ledger.rs",
            "state/visitors.rs",
            "state/memory_store.rs",
        ],
    ),
    ("RwLock", &[]),
    // A logger is foreign code: `logged!` keeps its panics away.
    ("log::info!", &[]),
    ("log::warn!", &[]),
    ("log::error!", &[]),
    ("Condvar", &["actors/wait/caller.rs"]),
    // A fork while one is being made would leave it locked in the child.
    ("LazyLock", &[]),
    (
        "Instant::now",
        &[
            "deadline.rs",
            "shared.rs",
            "actors/notifier/run.rs",
            "actors/store/run.rs",
            "actors/tracker/run.rs",
            "actors/previewer.rs",
            "actors/refresher.rs",
            "actors/wait/caller.rs",
            "actors/wait/timer.rs",
            "state/memory_store.rs",
            "state/visitors.rs",
        ],
    ),
    (
        "SystemTime::now",
        &["actors/refresher.rs", "actors/tracker/run.rs", "shared.rs", "transport/routes.rs"],
    ),
    ("sleep", &[]),
    ("unsafe ", &["process/hooks.rs"]),
    ("std::env", &[]),
    ("println!", &[]),
    ("todo!", &[]),
];

/// The parts of the standard library that a pure computation must not use. The crate boundary keeps out
/// the rest: `crates/evaluation` has no dependency that locks, waits or does I/O.
const ABSENT_FROM_EVALUATION: &[&str] = &[
    "Mutex",
    "RwLock",
    "Condvar",
    "LazyLock",
    "std::time",
    "std::thread",
    "std::sync::mpsc",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "println!",
    "unsafe",
];

/// The modules of `crates/evaluation`, and the files of its folder `config`: each may import only those
/// before it.
const EVALUATION: &[&str] = &["short", "murmur", "attributes", "preview", "js", "config", "decide"];
const EVALUATION_CONFIG: &[&str] = &[
    "index",
    "kind",
    "warning",
    "shape",
    "wire",
    "layout",
    "rules",
    "entity",
    "snapshot",
    "reader",
    "experience",
    "compile",
];

struct Source {
    /// Relative to `src/`, with forward slashes.
    path: String,
    /// Without comments and test modules.
    code: String,
    first_line: String,
}

fn sources() -> Vec<Source> {
    sources_below("src")
}

fn sources_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 30, "the sources were not found");
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let relative = file.strip_prefix(&root).expect("below src");
            let text = fs::read_to_string(file).expect("a readable source");
            (relative.to_string_lossy().replace('\\', "/"), text)
        })
        .collect();
    let tests: Vec<String> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    texts
        .into_iter()
        .filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test)))
        .map(|(path, text)| Source {
            path,
            code: code_of(&text),
            first_line: text.lines().next().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// Where the files of a module's test modules begin: `decide/vectors` for both `decide/vectors.rs`
/// and the folder beside it.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = path
        .strip_suffix("mod.rs")
        .map_or_else(|| format!("{}/", path.trim_end_matches(".rs")), str::to_owned);
    let lines: Vec<&str> = text.lines().collect();
    let declared = |at: usize| {
        lines[at + 1..]
            .iter()
            .find(|line| !line.starts_with("#["))
            .and_then(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
    };
    let is_gate = |line: &str| ["#[cfg(test)]", "#[cfg(any(test, vectors))]"].contains(&line);
    let gates = (0..lines.len()).filter(|at| is_gate(lines[*at]));
    gates.filter_map(declared).map(|name| format!("{folder}{name}")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The code before the test module that ends a file, without comment lines.
fn code_of(text: &str) -> String {
    let end = text.find("\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn layer(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn imports(code: &str) -> Vec<&str> {
    named_after("crate::", code)
}

fn named_after<'a>(prefix: &str, code: &'a str) -> Vec<&'a str> {
    code.match_indices(prefix)
        .map(|(at, found)| {
            let rest = &code[at + found.len()..];
            &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())]
        })
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let own = layer(&source.path);
        let Some(allowed) = allowed.get(own) else {
            wrong.push(format!("{}: its layer is not in the table", source.path));
            continue;
        };
        for import in imports(&source.code).into_iter().filter(|import| *import != own) {
            seen += 1;
            if !allowed.contains(&import) {
                wrong.push(format!("{} imports {import}", source.path));
            }
        }
    }
    assert!(seen > 50, "imports were not found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_has_one_place_is_nowhere_else() {
    let mut wrong = Vec::new();
    for source in &sources() {
        for (text, places) in ONLY_IN {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            if !allowed && source.code.contains(text) {
                wrong.push(format!("{} names {text}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn evaluation_reads_no_clock_takes_no_lock_and_does_no_io() {
    let mut wrong = Vec::new();
    for source in sources_below("crates/evaluation/src") {
        for text in ABSENT_FROM_EVALUATION {
            if source.code.contains(text) {
                wrong.push(format!("{} names {text}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn modules_of_the_evaluation_form_no_cycle() {
    let sources = sources_below("crates/evaluation/src");
    let after = |prefix, order: &[&str], file: &str, code: &str| -> Vec<String> {
        let place = |name: &str| order.iter().position(|known| *known == name);
        let own = place(file).unwrap_or_else(|| panic!("{file} has no place in the order"));
        let named = named_after(prefix, code).into_iter();
        named.filter(|name| place(name) > Some(own)).map(|name| format!("{file} names {name}")).collect()
    };
    let mut wrong = Vec::new();
    for Source { path, code, .. } in &sources {
        if !["lib.rs", "fuzzing.rs"].contains(&path.as_str()) {
            wrong.extend(after("crate::", EVALUATION, layer(path), code));
        }
        if let Some(file) = path.strip_prefix("config/").filter(|file| *file != "mod.rs") {
            wrong.extend(after("super::", EVALUATION_CONFIG, layer(file), code));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for name in EVALUATION.iter().chain(EVALUATION_CONFIG) {
        let is_there = |source: &Source| layer(source.path.trim_start_matches("config/")) == *name;
        assert!(*name == "config" || sources.iter().any(is_there), "{name} is gone");
    }
}

#[test]
fn every_place_in_the_tables_exists() {
    let sources = sources();
    for (_, places) in ONLY_IN {
        for place in *places {
            assert!(sources.iter().any(|source| source.path.starts_with(place)), "{place} is gone");
        }
    }
    for (text, places) in ONLY_IN.iter().filter(|(_, places)| !places.is_empty()) {
        for place in *places {
            let used = sources.iter().any(|it| it.path.starts_with(place) && it.code.contains(text));
            assert!(used, "{place} does not name {text} any more: take it out of the table");
        }
    }
    for (layer_name, _) in MAY_IMPORT {
        assert!(sources.iter().any(|source| layer(&source.path) == *layer_name), "{layer_name} is gone");
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    let all = sources().into_iter().chain(sources_below("crates/evaluation/src"));
    let wrong: Vec<_> =
        all.filter(|source| !source.first_line.starts_with("//! ")).map(|it| it.path).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_architecture_text_stays_short_and_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert!(text.lines().count() <= 150);
    let mut named = 0;
    for path in text.split('`').filter(|part| part.starts_with("src/") || part.starts_with("crates/")) {
        named += 1;
        assert!(root.join(path).exists(), "ARCHITECTURE.md names {path}, which is gone");
    }
    assert!(named > 10);
}
