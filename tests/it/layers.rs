//! Enforces `ARCHITECTURE.md`: who may import whom, and what must be absent where.

use std::fs;
use std::path::{Path, PathBuf};

/// The outermost part of the face: what users call.
const CALLS: &[&str] = &["asynchronous", "context", "core", "exit_flush"];
/// What calls take and answer with.
const ANSWERS: &[&str] = &["flush", "handles", "results"];

/// What a part of `src/` must not import from the others (`crate::NAME`).
const MAY_NOT_IMPORT: &[(&str, &[&[&str]])] = &[
    (
        "engine",
        &[
            CALLS,
            ANSWERS,
            &["adapters", "decide", "pump", "runtime", "shared", "threads", "turns", "visitors"],
        ],
    ),
    (
        "ports",
        &[
            CALLS,
            &["adapters", "decide", "engine", "pump", "runtime", "shared", "threads", "turns", "visitors"],
        ],
    ),
    ("adapters", &[CALLS, &["decide", "engine", "runtime", "shared", "visitors"]]),
    ("visitors", &[CALLS, &["adapters", "decide", "runtime", "shared"]]),
    ("threads", &[CALLS, ANSWERS, &["adapters", "decide", "runtime", "shared"]]),
    ("runtime", &[CALLS, ANSWERS, &["adapters", "decide", "shared"]]),
    ("turns", &[CALLS, ANSWERS, &["adapters", "decide", "runtime", "shared", "visitors"]]),
    ("shared", &[CALLS, &["adapters", "decide"]]),
    ("context", &[&["adapters", "asynchronous", "core", "exit_flush", "ports"]]),
    ("core", &[&["asynchronous", "exit_flush", "pump", "testing"]]),
    ("hooks", &[CALLS, &["engine", "pump", "runtime", "shared", "testing", "threads", "turns"]]),
    (
        "telemetry",
        &[CALLS, &["config", "engine", "ports", "pump", "runtime", "shared", "testing", "threads", "turns"]],
    ),
];

/// What a part must not name, because that is another part's job: an engine has no thread, channel, clock or socket.
const MAY_NOT_NAME: &[(&str, &[&str])] = &[
    (
        "engine/",
        &[
            "std::thread",
            "arc_swap",
            "crossbeam_channel",
            "std::net",
            "Instant",
            "SystemTime::now",
            "Condvar",
        ],
    ),
    // Delivery without the tracker has no claims and no flushes.
    ("engine/delivery/", &["tracker", "Claim", "Flush", "Reply", "Queued"]),
    ("ports/", &["std::thread", "crossbeam_channel", "std::net", "Instant::now", "SystemTime::now"]),
    // A turn reads the core's clock, waits for nothing and starts nothing.
    (
        "turns/",
        &[
            "std::thread",
            "crossbeam_channel",
            "std::net",
            "Instant",
            "SystemTime::now",
            "Condvar",
            "blocking",
        ],
    ),
    // A context works in a forked child too: no fork may leave a cell in it half-made.
    (
        "context/",
        &["Mutex", "OnceLock", "LazyLock", "sync::Once", "crossbeam_channel", "std::thread", "Instant::now"],
    ),
];

/// Files of `engine/` that callers read too, and that may take locks. Machines do not.
const ENGINE_LOCKS: &[&str] = &["engine/ledger.rs", "engine/question.rs"];

/// What may appear only in these files or folders of `src/`.
const ONLY_IN: &[(&str, &[&str])] = &[
    // All that is not of a config is reached through `decide` in lib.rs, which the layers know.
    ("convert_evaluation::", &["attributes.rs", "config/", "error.rs", "lib.rs"]),
    ("ureq::", &["adapters/https/", "options/proxy.rs"]),
    ("reqwest::", &[]),
    ("redis::", &[]),
    ("rusqlite::", &[]),
    ("tokio::", &[]),
    ("tracing::", &["telemetry/"]),
    ("metrics::", &["telemetry/times.rs", "metrics.rs"]),
    ("futures_core", &["threads/notifier/stream.rs"]),
    ("std::thread", &["threads/worker.rs", "threads/process/"]),
    ("Builder::new", &["threads/process/threads.rs"]),
    ("RwLock", &[]),
    // A logger is foreign code: `logged!` catches its panics.
    ("log::info!", &[]),
    ("log::warn!", &[]),
    ("log::error!", &[]),
    // A fork during its initialization would leave it locked in the child.
    ("LazyLock", &[]),
    ("sleep", &[]),
    ("unsafe ", &["threads/process/hooks.rs"]),
    ("std::env", &["options/environment.rs"]),
    ("println!", &[]),
    ("todo!", &[]),
];

/// The parts of the standard library that a pure computation must not use. The crate boundary excludes the rest:
/// `crates/evaluation` has no dependency that locks, waits or does I/O.
const ABSENT_FROM_EVALUATION: &[&str] = &[
    "Mutex",
    "RwLock",
    "Condvar",
    "LazyLock",
    "OnceLock",
    "sync::Once",
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

/// The modules of `crates/evaluation`, and the files of its folder `config`: each may import only earlier ones.
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
    "conditions",
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

/// The path prefix of a module's test modules: `decide/vectors` for both `decide/vectors.rs` and the folder beside it.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = path
        .strip_suffix("mod.rs")
        .map_or_else(|| format!("{}/", path.trim_end_matches(".rs")), str::to_owned);
    let lines: Vec<&str> = text.lines().collect();
    let declared = |at: usize| {
        lines[at + 1..]
            .iter()
            .find(|line| !line.starts_with("#["))
            .and_then(|line| line.trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';'))
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

/// The code before the test module at the end of a file, without comment lines.
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
fn no_part_imports_a_layer_above_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in &sources() {
        for (part, above) in MAY_NOT_IMPORT.iter().filter(|(part, _)| *part == layer(&source.path)) {
            let imports = imports(&source.code);
            seen += imports.len();
            wrong.extend(
                imports
                    .iter()
                    .filter(|import| above.iter().any(|names| names.contains(import)))
                    .map(|import| format!("{} ({part}) imports {import}", source.path)),
            );
        }
    }
    assert!(seen > 50, "imports were not found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_part_does_another_ones_job() {
    let mut wrong = Vec::new();
    for source in &sources() {
        for (_, texts) in MAY_NOT_NAME.iter().filter(|(part, _)| source.path.starts_with(part)) {
            let named = texts.iter().filter(|text| source.code.contains(**text));
            wrong.extend(named.map(|text| format!("{} names {text}", source.path)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_machine_takes_a_lock() {
    let mut locking = Vec::new();
    for source in sources().into_iter().filter(|source| source.path.starts_with("engine/")) {
        let locks = ["Mutex", "std::sync::atomic"].iter().any(|text| source.code.contains(text));
        locking.extend(locks.then_some(source.path));
    }
    locking.sort_unstable();
    assert_eq!(locking, ENGINE_LOCKS);
}

#[test]
fn confined_names_stay_in_their_place() {
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
fn evaluation_has_no_clock_lock_or_io() {
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
fn evaluation_modules_form_no_cycle() {
    let sources = sources_below("crates/evaluation/src");
    let after = |prefix, order: &[&str], file: &str, code: &str| -> Vec<String> {
        let place = |name: &str| order.iter().position(|known| *known == name);
        let own = place(file).unwrap_or_else(|| panic!("{file} is missing from the order"));
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
            assert!(used, "{place} no longer names {text}: remove it from the table");
        }
    }
    for (part, _) in MAY_NOT_IMPORT {
        assert!(sources.iter().any(|source| layer(&source.path) == *part), "{part} is gone");
    }
    for (part, _) in MAY_NOT_NAME {
        assert!(sources.iter().any(|source| source.path.starts_with(part)), "{part} is gone");
    }
}

#[test]
fn every_file_opens_with_a_doc_line() {
    let all = sources().into_iter().chain(sources_below("crates/evaluation/src"));
    let wrong: Vec<_> =
        all.filter(|source| !source.first_line.starts_with("//! ")).map(|it| it.path).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn architecture_md_is_short_and_names_existing_paths() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert!(text.lines().count() < 150);
    let mut named = 0;
    for path in text.split('`').filter(|part| part.starts_with("src/") || part.starts_with("crates/")) {
        named += 1;
        assert!(root.join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
    assert!(named > 10);
}
