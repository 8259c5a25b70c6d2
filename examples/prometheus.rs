//! Serves the SDK's metrics to Prometheus, over a few lines of HTTP; `grafana.json` is a dashboard for them.
//!
//! `cargo run --features metrics --example prometheus` answers one scrape, its own, and prints it;
//! `… -- 127.0.0.1:9464` serves there for as long as it runs.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use convert_sdk::{Core, SdkConfig, attributes, metrics};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

fn main() -> Result<(), Box<dyn Error>> {
    // Buckets make histograms that add up over processes; times are in seconds.
    let recorder =
        PrometheusBuilder::new().set_buckets(&[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])?;
    let recorder = recorder.install_recorder()?;
    metrics::describe();

    let core = Core::new(SdkConfig::builder().data_json(include_str!("shop.json")).offline().build()?);
    core.initialize()?;
    let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    visitor.run_experience("checkout")?;
    visitor.track_conversion("purchase");

    if let Some(address) = std::env::args().nth(1) {
        let listener = TcpListener::bind(address)?;
        loop {
            // A scraper that goes away is nobody's failure.
            let _ = answer(&listener, &core, &recorder);
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let scrape = std::thread::spawn(move || -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    answer(&listener, &core, &recorder)?;
    let scraped = scrape.join().map_err(|_| "the scrape panicked")??;
    print!("{scraped}");
    if !scraped.contains("\nconvert_records_recorded_total 2\n") {
        return Err("the scrape has no records".into());
    }
    Ok(())
}

/// Answers one request, whatever it asks for.
fn answer(listener: &TcpListener, core: &Core, recorder: &PrometheusHandle) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = BufReader::new((&stream).take(8 << 10));
    for line in request.lines() {
        if line?.is_empty() {
            break;
        }
    }
    metrics::update(&core.stats());
    recorder.run_upkeep();
    let body = recorder.render();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close";
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
