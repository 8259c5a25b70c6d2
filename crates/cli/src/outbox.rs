//! `outbox`: what processes which are gone have left on disk.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use convert_sdk::config::TransportConfig;
use convert_sdk::{Core, SdkConfig};
use convert_sdk_sqlite::{EntryState, OpenError, OutboxEntry, SqliteOutbox};
use serde_json::{Value, json};

use crate::Verdict;
use crate::args::{DrainArgs, OutboxAction, OutboxArgs};
use crate::chart::counted;
use crate::error::{Failure, Flaw};
use crate::progress::progress;

/// Between two looks at how far a drain is.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the command.
pub(crate) fn run(args: &OutboxArgs) -> Result<Verdict, Failure> {
    let is_json = args.json;
    match &args.action {
        OutboxAction::List { directory } => list(directory, is_json),
        OutboxAction::Show { directory } => show(directory),
        OutboxAction::Drain(args) => drain(args, is_json),
        OutboxAction::Erase { directory } => {
            let erased = open(directory)?.erase().map_err(|error| flaw(&error))?;
            print(&match is_json {
                true => format!("{}\n", json!({"erased": erased})),
                false => format!("files erased: {erased}\n"),
            })
        }
    }
}

/// An outbox that is there: a mistyped name makes no directory.
fn open(directory: &Path) -> Result<SqliteOutbox, Failure> {
    if !directory.is_dir() {
        return Err(Flaw::of(directory.display().to_string(), "not a directory").into());
    }
    SqliteOutbox::open(directory).map_err(|error| flaw(&error))
}

fn flaw(error: &OpenError) -> Failure {
    Flaw::of("the outbox", error).into()
}

fn print(text: &str) -> Result<Verdict, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Verdict::Good)
}

fn list(directory: &Path, is_json: bool) -> Result<Verdict, Failure> {
    let mut text = String::new();
    let entries = open(directory)?.entries().map_err(|error| flaw(&error))?;
    if entries.is_empty() && !is_json {
        return print("nothing is left\n");
    }
    for entry in entries {
        let OutboxEntry { name, state, project, bytes, records, oldest, .. } = entry;
        let is_left = state == EntryState::Left;
        if is_json {
            let line = json!({
                "name": name, "state": state.as_str(), "project": project, "bytes": bytes,
                "records": is_left.then_some(records), "oldest": oldest.map(milliseconds),
            });
            text += &format!("{line}\n");
            continue;
        }
        let age = oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
        let mut facts = Vec::new();
        if is_left {
            facts.push(format!("project {}", project.as_deref().unwrap_or("unknown")));
            facts.push(counted(records, "record"));
        }
        facts.push(counted(bytes, "byte"));
        facts.extend(age.map(|age| format!("oldest {} s ago", age.as_secs())));
        text += &format!("{name}\n  {}: {}\n", state.as_str(), facts.join(", "));
    }
    print(&text)
}

fn show(directory: &Path) -> Result<Verdict, Failure> {
    let mut out = io::stdout().lock();
    let shown = open(directory)?.for_each(|file, record| {
        let event: Value = serde_json::from_slice(&record.content).unwrap_or_default();
        let line = json!({"file": file, "recordedAt": milliseconds(record.recorded_at), "event": event});
        writeln!(out, "{line}").map_err(|error| Stopped(Failure::Output(error)))
    });
    shown.map_err(|Stopped(failure)| failure)?;
    out.flush().map_err(Failure::Output)?;
    Ok(Verdict::Good)
}

/// A time as JavaScript has it.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Why not all records were shown.
struct Stopped(Failure);

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        Self(Flaw::of("the outbox", error).into())
    }
}

fn drain(args: &DrainArgs, is_json: bool) -> Result<Verdict, Failure> {
    let outbox = open(&args.directory)?;
    let entries = outbox.entries().map_err(|error| flaw(&error))?;
    let mut projects = BTreeMap::new();
    for entry in entries {
        if let Some(project) = entry.project {
            *projects.entry(project).or_insert(0) += entry.records;
        }
    }
    let bar = progress("records", projects.values().sum());
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let (mut delivered, mut dropped, mut pending, mut failure) = (0, 0, 0, None);
    for (project, left) in projects {
        let core = core(args, &project, outbox.clone())?;
        let mut stats = core.stats();
        // Another process that takes some of them over leaves this one waiting for its deadline.
        while (stats.recovered < left || stats.pending > 0) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
            stats = core.stats();
            bar.set_position(delivered + stats.delivered);
        }
        let stats = match core.shutdown(deadline.saturating_duration_since(Instant::now())) {
            Ok(report) => report.stats,
            Err(error) => error.stats().clone(),
        };
        delivered += stats.delivered;
        dropped += stats.dropped.total();
        pending += stats.pending;
        failure = stats.last_error.or(failure);
    }
    bar.finish_and_clear();
    // What is damaged was set aside and counted; these were left alone.
    let entries = outbox.entries().map_err(|error| flaw(&error))?;
    let is_unreadable =
        |entry: &&OutboxEntry| entry.state == EntryState::Unreadable && entry.project.is_some();
    let unreadable = entries.iter().filter(is_unreadable).count() as u64;
    let failure = failure.filter(|_| dropped + pending > 0).map(|failure| failure.to_string());
    if is_json {
        let line = json!({
            "delivered": delivered, "dropped": dropped, "left": pending, "unreadable_files": unreadable,
            "last_failure": failure,
        });
        print(&format!("{line}\n"))?;
    } else {
        if let Some(failure) = failure {
            print(&format!("the last delivery failed: {failure}\n"))?;
        }
        if unreadable > 0 {
            print(&format!("files that cannot be read: {unreadable}\n"))?;
        }
        let delivered = counted(delivered, "record");
        print(&format!("{delivered} delivered, {dropped} dropped, {pending} left\n"))?;
    }
    Ok(if dropped + pending + unreadable == 0 { Verdict::Good } else { Verdict::Bad })
}

/// A core that takes over what was left of one project, and sends it.
fn core(args: &DrainArgs, project: &str, outbox: SqliteOutbox) -> Result<Core, Failure> {
    let (account, project) = project.split_once('/').unwrap_or((project, ""));
    let config = json!({"account_id": account, "project": {"id": project}, "experiences": [], "goals": []});
    let mut network = TransportConfig::from_env().map_err(|error| Failure::Sdk(error.to_string()))?;
    if let Some(url) = &args.track_url {
        network = network.track_base_url(url);
    }
    if let Some(file) = &args.root_certificate {
        let pem = std::fs::read(file).map_err(|error| Flaw::of(file.display().to_string(), error))?;
        network = network.root_certificate_pem(pem);
    }
    let network = network.build().map_err(|error| Flaw::of(error.field().to_owned(), error.reason()))?;
    let config = SdkConfig::builder().data_json(config.to_string()).transport(network).outbox(outbox);
    let config = config.build().map_err(|error| Failure::Sdk(error.to_string()))?;
    let core = Core::new(config);
    core.initialize().map_err(|error| Failure::Sdk(error.to_string()))?;
    Ok(core)
}
