//! The conversions that hosts are offered.

use convert_sdk::Core;

use crate::sdk::{PATIENCE, visitor};

/// Offers one conversion for each of these visitors, and waits until all of them are settled.
pub(crate) fn convert(core: &Core, group: &str, visitors: u32) {
    for number in 0..visitors {
        let sent = visitor(core, &format!("{group}-{number}")).track_conversion("purchase");
        assert!(sent.tracked(), "{sent:?}");
    }
    core.flush(PATIENCE).unwrap();
}
