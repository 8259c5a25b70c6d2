//! What an outbox costs those who record.

use allocation_counter::measure;
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_sqlite::SqliteOutbox;

use crate::files::files;
use crate::folder::Folder;

struct Unreachable;

impl EventSink for Unreachable {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::Connect))
    }
}

/// Allocations and bytes of the second conversion, as the calling thread makes them.
fn cost(outbox: Option<SqliteOutbox>) -> (u64, u64) {
    let config = SdkConfig::builder().data_json(include_str!("../../../emulator/projects/demo.json"));
    let config = match outbox {
        Some(outbox) => config.outbox(outbox),
        None => config,
    };
    let core = Core::builder(config.build().unwrap()).event_sink(Unreachable).build().unwrap();
    core.initialize().unwrap();
    let [first, second] = ["first", "second"].map(|id| core.create_context(id, ()).unwrap());
    assert!(first.track_conversion("purchase").tracked());
    let cost = measure(|| assert!(second.track_conversion("purchase").tracked()));
    assert_eq!(core.close().outbox_missed, 0);
    (cost.count_total, cost.bytes_total)
}

#[test]
fn a_conversion_costs_its_caller_no_more_with_an_outbox() {
    let folder = Folder::new();
    let (count, bytes) = cost(None);
    assert!(count <= 1, "{count}");
    assert_eq!(cost(Some(SqliteOutbox::open(&*folder).unwrap())), (count, bytes));
    assert_eq!(files(&folder, "db").len(), 1, "both are on disk");
}
