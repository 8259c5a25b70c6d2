//! The `convert-emulator` program: serves projects until it is interrupted.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use convert_emulator::{Emulator, Project};

const AFTER_HELP: &str = "\
Without --project, the sample project is served under the key 10035569/10034190.

A page on both ports under /__admin/ shows what is served and received, injects faults, edits configs and explains \
decisions. Below it is the admin API: `received` (GET, DELETE), `faults` (GET, POST, DELETE) and `projects` (GET). \
For example, to answer the next two tracking requests with 503:

  curl http://127.0.0.1:8080/__admin/faults \\
    -d '[{\"route\":\"track\",\"times\":2,\"fault\":{\"status\":{\"status\":503}}}]'";

/// A local stand-in for Convert's config CDN and metrics endpoint.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Options {
    /// Serve the config in FILE.json under the SDK key KEY, and reload it whenever the file changes (repeatable)
    #[arg(long = "project", value_name = "KEY=FILE.json", value_parser = parse_project)]
    projects: Vec<(String, PathBuf)>,
    /// The port of the HTTPS listener on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https: u16,
    /// The port of the plain HTTP listener on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// Where to write the certificate that clients have to trust
    #[arg(long, value_name = "FILE", default_value = "convert-emulator-ca.pem")]
    ca_out: PathBuf,
    /// Require this bearer secret on the config route of every project
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// Do not log requests
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convert-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Signal handlers come first: whoever reads the address may send a signal at once.
    let stop = {
        let _entered = runtime.enter();
        stop_signal()?
    };
    let mut emulator = start(&options)?;
    let ca = &options.ca_out;
    emulator.write_ca(ca).map_err(|cause| format!("cannot write {}: {cause}", ca.display()))?;
    match announce(&options, &emulator) {
        // If nobody reads standard output, that is no reason to stop.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        announced => announced?,
    }
    runtime.block_on(stop);
    emulator.shutdown();
    Ok(())
}

fn start(options: &Options) -> Result<Emulator, convert_emulator::StartError> {
    let mut builder = Emulator::builder().https_port(options.https).http_port(options.http);
    for (_, project) in projects(options) {
        builder = builder.project(project);
    }
    let quiet = options.quiet;
    builder
        .log_to(move |line| {
            if !quiet || line.starts_with("warning:") {
                // If standard error is closed, there is nobody left to tell.
                let _ = writeln!(io::stderr(), "{line}");
            }
        })
        .start()
}

/// Every project with the line that announces it.
fn projects(options: &Options) -> Vec<(String, Project)> {
    let mut projects: Vec<(String, Project)> = options
        .projects
        .iter()
        .map(|(key, file)| {
            let project = Project::from_file(file).sdk_key(key);
            (format!("{key} from {}", file.display()), project)
        })
        .collect();
    if projects.is_empty() {
        projects.push((format!("{} (the sample)", first_key(options)), Project::demo()));
    }
    if let Some(secret) = &options.secret {
        for (_, project) in &mut projects {
            *project = project.clone().secret(secret);
        }
    }
    projects
}

fn first_key(options: &Options) -> &str {
    options.projects.first().map_or(Project::DEMO_SDK_KEY, |(key, _)| key)
}

fn announce(options: &Options, emulator: &Emulator) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (line, _) in projects(options) {
        writeln!(out, "project {line}")?;
    }
    writeln!(out, "https   {}", emulator.https_url())?;
    writeln!(out, "http    {}", emulator.http_url())?;
    writeln!(out, "page    {}", emulator.page_url())?;
    // Whoever copies the lines may be in another directory.
    let ca = std::path::absolute(&options.ca_out).unwrap_or_else(|_| options.ca_out.clone());
    writeln!(out, "ca      {}", ca.display())?;
    writeln!(out)?;
    writeln!(out, "export CONVERT_SDK_KEY={}", first_key(options))?;
    writeln!(out, "export CONVERT_CONFIG_ENDPOINT={}", emulator.config_url())?;
    writeln!(out, "export CONVERT_TRACK_ENDPOINT={}", emulator.track_url())?;
    writeln!(out, "export CONVERT_CA_FILE={}", quoted(&ca.display().to_string()))?;
    out.flush()
}

/// For a shell.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if path.bytes().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn parse_project(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((key, file)) if !key.is_empty() && !file.is_empty() => Ok((key.to_owned(), file.into())),
        _ => Err("must be KEY=FILE.json".to_owned()),
    }
}

/// Completes at the first SIGINT or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Completes at the first Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // If Ctrl-C cannot be handled, only the system ends the program.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
