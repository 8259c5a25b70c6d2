//! A blocking server with a thread for each connection: one core for all of them, a context for each request.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use convert_sdk::{Core, SdkConfig};
use signal_hook::{consts::SIGTERM, iterator::Signals};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut signals, listener) = (Signals::new([SIGTERM])?, TcpListener::bind("127.0.0.1:0")?);
    let core = Core::new(SdkConfig::from_env()?.for_server().build()?);
    core.initialize()?;
    println!("listening on {}", listener.local_addr()?);
    let stopping = core.clone();
    std::thread::spawn(move || {
        signals.forever().next();
        match stopping.shutdown(Duration::from_secs(5)) {
            Ok(report) => println!("{} delivered", report.stats.delivered),
            Err(error) => println!("{error}"),
        }
        std::process::exit(0);
    });
    for stream in listener.incoming() {
        let (stream, core) = (stream?, core.clone());
        std::thread::spawn(move || respond(&core, &stream));
    }
    Ok(())
}

fn respond(core: &Core, mut stream: &TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let id = head.first().and_then(|line| line.split(['/', ' ']).nth(2)).unwrap_or_default();
    let visitor = core.create_context(id, ())?;
    let shown = visitor.run_experience("homepage-headline").map_or("original", |it| it.variation_key());
    visitor.track_conversion("purchase");
    Ok(write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{shown}", shown.len())?)
}
