//! Hosts on a store, and the conversions that they are offered.

use std::sync::Arc;

use convert_emulator::Emulator;
use convert_sdk::Core;
use convert_sdk::ports::DataStore;

use crate::sdk::{PATIENCE, start, to, visitor};

pub(crate) fn host(emulator: &Emulator, store: &Arc<impl DataStore>) -> Core {
    start(to(emulator).shared_data_store(store.clone()))
}

/// Offers one conversion for each of these visitors, and waits until all of them are settled.
pub(crate) fn convert(core: &Core, group: &str, visitors: u32) {
    for number in 0..visitors {
        let sent = visitor(core, &format!("{group}-{number}")).track_conversion("purchase");
        assert!(sent.tracked(), "{sent:?}");
    }
    core.flush(PATIENCE).unwrap();
}
