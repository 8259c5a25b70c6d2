//! A client of the fleet with this SDK, which keeps what it cannot deliver: this program again.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_sdk::config::TransportConfig;
use convert_sdk::events::{LifecycleEvent, LifecycleEventKind};
use convert_sdk::{Core, SdkConfig};

/// The argument that makes this program a client.
pub(crate) const ROLE: &str = "client";

/// Arguments: authority, base URL, SDK key, name, visitors in a batch. Ends with its standard input.
pub(crate) fn client(arguments: &[String]) {
    let [authority, url, sdk_key, name, batch] = arguments else { panic!("{arguments:?}") };
    let ended = Arc::<AtomicBool>::default();
    let ends = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ends.store(true, Ordering::Relaxed);
    });
    let network = TransportConfig::builder()
        .config_base_url(url)
        .track_base_url(format!("{url}/v1"))
        .batch_ids(true)
        .root_certificate_pem(std::fs::read(authority).unwrap());
    let config = SdkConfig::builder().sdk_key(sdk_key.as_str()).transport(network.build().unwrap());
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    let failed = Arc::<AtomicBool>::default();
    let fails = Arc::clone(&failed);
    core.on(LifecycleEventKind::ApiQueueReleased, move |event| {
        if matches!(event, LifecycleEvent::ApiQueueReleased { error: Some(_), .. }) {
            fails.store(true, Ordering::SeqCst);
        }
    })
    .unwrap();
    let batch: usize = batch.parse().unwrap();
    for first in (0..).step_by(batch).take_while(|_| !ended.load(Ordering::Relaxed)) {
        let visitors: Vec<String> = (first..first + batch).map(|number| format!("{name}-{number}")).collect();
        for visitor in &visitors {
            let context = core.create_context(visitor, ()).unwrap();
            context.run_experience("homepage-headline").unwrap();
            context.track_conversion("purchase");
        }
        while core.flush(Duration::from_secs(30)).is_err() {}
        let how = if failed.swap(false, Ordering::SeqCst) { "again" } else { "once" };
        println!("acknowledged {how} {}", visitors.join(" "));
    }
}
