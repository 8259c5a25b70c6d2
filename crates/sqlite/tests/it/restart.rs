//! What a store keeps for the next life of its program.

use std::time::Instant;

use convert_sdk::SdkConfigBuilder;
use convert_sdk_sqlite::{OpenError, SqliteStore};

use crate::folder::Folder;
use crate::sdk::{PATIENCE, assert_converted, demo, serve, start, to, visitor, with};

const VISITORS: u32 = 50;

#[test]
fn a_restart_keeps_decisions_and_sends_no_conversion_again() {
    let folder = Folder::new();
    let emulator = serve();
    let mut config = demo();
    let shares = config["experiences"][0]["variations"].as_array_mut().unwrap();
    for (variation, share) in shares.iter_mut().zip([0, 0, 100]) {
        variation["traffic_allocation"] = share.into();
    }
    let changed_split = || with(&emulator, &config);

    let first = live(to(&emulator).data_store(open(&folder)));
    let second = live(changed_split().data_store(open(&folder)));
    assert_eq!(first, second);
    assert_converted(&emulator, "visitor-", VISITORS, 1);

    let forgetful = live(changed_split().tracking(false));
    assert!(first != forgetful, "the new split decides as the old one does");
}

/// What each visitor saw. All of them convert.
fn live(config: SdkConfigBuilder) -> Vec<String> {
    let core = start(config.store_timeout(PATIENCE));
    let seen = (0..VISITORS).map(|number| {
        let visitor = visitor(&core, &format!("visitor-{number}"));
        visitor.track_conversion("purchase");
        visitor.run_experience("homepage-headline").unwrap().variation_id().to_owned()
    });
    let seen = seen.collect();
    core.shutdown(PATIENCE).unwrap();
    seen
}

/// Nobody waits for the last thread of the life before, which may still have the file.
fn open(folder: &Folder) -> SqliteStore {
    let until = Instant::now() + PATIENCE;
    loop {
        match SqliteStore::open(folder.join("visitors.db")) {
            Err(OpenError::AlreadyOpen(_)) if Instant::now() < until => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}
