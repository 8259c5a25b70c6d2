//! What a child of the storm does with what it has inherited. All of it must work.

use std::sync::mpsc::channel;
use std::time::Duration;

use convert_sdk::{Context, Core, attributes, events::LifecycleEventKind, register_exit_flush};

use crate::parent::Scene;
use crate::watch::{Watched, doing, fork};

/// Only a hang exceeds it, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A grandchild may use up its own patience first.
pub(crate) const PATIENCE_WITH_CHILD: Duration = Duration::from_secs(100);

pub(crate) fn live(scene: &Scene, core: &Core, inherited: Option<&Context>, task: u64) {
    doing(1);
    if !task.is_multiple_of(9) && !core.is_ready() {
        core.initialize_within(PATIENCE).unwrap();
    }
    doing(10 + i32::try_from(task % 9).unwrap());
    match task % 9 {
        // Exits without using the SDK, like a child that only starts another program.
        0 => {}
        1 => {
            std::thread::scope(|scope| {
                for part in ["a", "b"] {
                    scope.spawn(move || record(core, part, 5));
                }
            });
            delivers(core, 10);
        }
        2 => {
            if let Some(context) = inherited {
                let _ = context.run_experience("price");
            }
            record(core, "c", 3);
            let report = core.flush(PATIENCE).unwrap();
            assert!(report.delivered >= 3, "{report:?}");
        }
        3 => {
            core.refresh_now_within(PATIENCE).unwrap();
            record(core, "d", 1);
            delivers(core, 1);
        }
        4 => {
            let own = scene.core();
            own.initialize_within(PATIENCE).unwrap();
            record(&own, "e", 2);
            delivers(&own, 2);
        }
        5 => {
            let (heard, hear) = channel();
            core.on(LifecycleEventKind::Conversion, move |_| {
                let _ = heard.send(());
            })
            .unwrap();
            record(core, "f", 1);
            hear.recv_timeout(PATIENCE).unwrap();
            core.close();
        }
        6 => {
            register_exit_flush(core, PATIENCE).unwrap();
            record(core, "g", 2);
        }
        7 => {
            let grandchild = fork(|| {
                record(core, "h", 2);
                delivers(core, 2);
            });
            if let Err(reason) = Watched::end(grandchild, PATIENCE * 2) {
                panic!("the grandchild failed:\n{reason}");
            }
            record(core, "i", 1);
            delivers(core, 1);
        }
        _ => {
            for number in 0..50 {
                let mut context = core.create_context(format!("child-j-{number}"), ()).unwrap();
                context.set_attributes(attributes! { "plan" => "pro" });
                let _ = context.run_experience("price");
            }
            assert!(core.stats().is_balanced());
        }
    }
    doing(98);
}

fn record(core: &Core, who: &str, count: u32) {
    for number in 0..count {
        let visitor = core.create_context(format!("child-{who}-{number}"), ()).unwrap();
        assert!(visitor.track_conversion("purchase").tracked());
    }
}

/// Everything that this process recorded is delivered, and it was `recorded` records.
fn delivers(core: &Core, recorded: u64) {
    let stats = core.shutdown(PATIENCE).unwrap().stats;
    assert!(stats.is_balanced() && stats.delivered == recorded && stats.pending == 0, "{stats:?}");
}
