//! How often the calls on the hot path allocate, and how much memory a config takes. Only the calling thread is
//! counted.

use allocation_counter::{AllocationInfo, measure};
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::{Attributes, Context, RunOptions, attributes};
use serde_json::{Value, json};

use crate::support::{direct, direct_to, pro, serve, start};

#[path = "../../benches/support/plain.rs"]
mod plain;
#[expect(dead_code, reason = "the benches use more of it")]
#[path = "../../benches/support/project.rs"]
mod project;

/// Allocations of a second call, so that one-time initialization is not counted.
fn allocations(mut call: impl FnMut()) -> u64 {
    call();
    measure(call).count_total
}

fn quiet() -> RunOptions {
    RunOptions::new().enable_tracking(false).enable_storage(false)
}

#[test]
fn an_evaluation_allocates_nothing() {
    let core = start(direct().tracking(false));
    let (context, quiet) = (pro(&core, "v"), quiet());
    let price = core.experience("price").unwrap();
    assert_eq!(allocations(|| assert!(context.run_experience_with("price", &quiet).is_ok())), 0);
    assert_eq!(allocations(|| assert!(context.run_experience_with(&price, &quiet).is_ok())), 0);
    assert_eq!(allocations(|| assert!(context.run_experience("price").is_ok())), 0, "remembered");
    assert_eq!(allocations(|| assert!(context.run_experience(&price).is_ok())), 0, "remembered");
}

#[test]
fn a_context_and_an_evaluation_allocate_at_most_4_times() {
    let core = start(direct().tracking(false));
    let quiet = quiet();
    let count = allocations(|| {
        let attributes = attributes! { "plan" => "pro", "age" => 30, "country_code" => "GR" };
        let context = core.create_context("visitor-000000001", attributes).unwrap();
        assert!(context.run_experience_with("price", &quiet).is_ok());
    });
    assert!(count <= 4, "{count}");
}

#[test]
fn a_conversion_allocates_nothing() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let purchase = core.goal("purchase").unwrap();
    let decided = |context: Context| {
        assert!(context.run_experience("price").is_ok());
        context
    };
    for context in [pro(&core, "undecided"), decided(pro(&core, "decided"))] {
        let count = allocations(|| assert!(context.track_conversion("purchase").tracked()));
        assert_eq!(count, 0);
        let count = allocations(|| assert!(context.track_conversion(&purchase).tracked()));
        assert_eq!(count, 0);
    }
}

/// The visitor with owned data, three decisions, one conversion.
#[test]
fn a_whole_request_allocates_only_a_few_times() {
    let emulator = serve();
    let core = start(direct_to(&emulator).environment("staging"));
    let request = |id: &str, browser: &str| {
        let attributes = attributes! {
            "country" => "GR", "age" => 30, "browser" => browser, "plan" => "pro", "beta" => true,
        };
        let context = core.create_context(id, attributes).unwrap();
        for experience in ["banner", "price", "lab"] {
            assert!(context.run_experience(experience).is_ok());
        }
        assert!(context.track_conversion("purchase").tracked());
    };
    let ids: Vec<String> = (0..100).map(|visitor| format!("visitor-{visitor:08}")).collect();
    let count = |id: &String| measure(|| request(id, "firefox")).count_total;
    // The memory's tables occasionally grow for new visitors.
    let new = ids.iter().map(count).min();
    let known = ids.iter().map(count).max();
    assert_eq!((known, new), (Some(0), Some(0)));
    // With segments that no other visitor has.
    let own = (100..200).map(|visitor| format!("visitor-{visitor:08}"));
    assert_eq!(own.map(|id| measure(|| request(&id, &id)).count_total).min(), Some(3));
}

#[test]
fn a_feature_and_its_variables_allocate_nothing() {
    let core = start(direct().tracking(false));
    let context = pro(&core, "v");
    let banner = core.feature("banner-text").unwrap();
    let read = || {
        assert!(context.run_feature("banner-text").unwrap().string("text").is_some());
        assert!(context.run_feature(&banner).unwrap().variable("text").is_some());
    };
    assert_eq!(allocations(read), 0);
}

#[test]
fn deciding_for_many_visitors_allocates_nothing_per_visitor() {
    let core = start(direct().tracking(false));
    let (price, quiet) = (core.experience("price").unwrap(), quiet());
    let attributes = attributes! { "plan" => "pro", "country" => "GR" };
    let ids: Vec<String> = (0..1_000).map(|n| format!("visitor-{n}")).collect();
    // Some have a remembered decision.
    ids.iter().step_by(3).for_each(|id| assert!(pro(&core, id).run_experience(&price).is_ok()));
    let config = core.current_config().unwrap();
    let mut results = Vec::with_capacity(ids.len());
    let count = allocations(|| {
        let visitors = ids.iter().map(|id| (id, &attributes));
        core.decide_many(&config, &price, visitors, &quiet, &mut results);
    });
    assert_eq!((count, results.iter().filter(|result| result.is_ok()).count()), (0, ids.len()));
}

/// The text as served is part of what is kept.
#[test]
fn a_config_takes_at_most_twice_the_memory_of_plain_structs() {
    let json = project::project(1_000, 2);
    let mut parsed = None;
    let structs: AllocationInfo = measure(|| parsed = plain::parse(&json));
    assert!(parsed.is_some());
    let core = crate::support::unready(convert_sdk::SdkConfig::builder().data_json(json.as_str()));
    let snapshot = measure(|| core.initialize().unwrap());
    eprintln!(
        "{} bytes of text; structs: {} bytes; snapshot: {} bytes, at most {} on the way",
        json.len(),
        structs.bytes_current,
        snapshot.bytes_current,
        snapshot.bytes_max
    );
    assert!(snapshot.bytes_current <= 2 * structs.bytes_current);
}

/// So that a million, with the tables that find them, fit into 200 MB.
#[test]
fn a_remembered_visitor_takes_at_most_200_bytes() {
    let taken = |attributes: &dyn Fn(u32) -> Attributes, experiences: &[&str]| {
        let core = start(direct().tracking(false).environment("staging"));
        let remember = |visitors: std::ops::Range<u32>| {
            for visitor in visitors {
                let context =
                    core.create_context(format!("visitor-{visitor:08}"), attributes(visitor)).unwrap();
                assert!(experiences.iter().all(|key| context.run_experience(key).is_ok()));
            }
        };
        remember(0..1);
        // Slightly more than the shards' tables hold before they grow.
        let taken = measure(|| remember(1..60_000)).bytes_current / 60_000;
        eprintln!("{taken} bytes a visitor of {} decisions", experiences.len());
        taken
    };
    let three = ["banner", "price", "lab"];
    let segments = |country: u32, browser: u32| {
        attributes! { "plan" => "pro", "country" => country.to_string(), "browser" => browser.to_string() }
    };
    assert!(taken(&|_| attributes! { "plan" => "pro" }, &three) <= 170);
    // A hundred different ones.
    let common = taken(&|visitor| segments(visitor % 20, visitor / 20 % 5), &three);
    let rare = taken(&|visitor| segments(visitor, visitor), &three);
    assert!(common <= 200 && rare <= 330, "{common} and {rare}");
}

/// Doubling an input chosen to be expensive must double the memory, not quadruple it.
#[test]
fn an_odd_configs_memory_is_proportional_to_its_text() {
    let rules = |items: Value| json!({"OR": [{"AND": [{"OR_WHEN": items}]}]});
    let list = |size: usize, element: &dyn Fn(usize) -> Value| (0..size).map(element).collect::<Value>();
    let alike = |size| list(size, &|_| json!({"id": "a", "key": "a"}));
    let configs: [(&str, &dyn Fn(usize) -> Value); 5] = [
        ("references", &|size| {
            let experience = json!({"id": "1", "audiences": list(size, &|_| json!("a"))});
            json!({"audiences": alike(size), "experiences": [experience]})
        }),
        ("experiences for audiences of one id", &|size| {
            let experiences = list(size, &|at| json!({"id": at, "audiences": ["a", at]}));
            json!({"audiences": alike(size), "experiences": experiences})
        }),
        ("experiences at locations of one id", &|size| {
            let experiences = list(size, &|at| json!({"id": at, "locations": ["a", at]}));
            json!({"locations": alike(size), "experiences": experiences})
        }),
        ("flaws", &|size| json!({"goals": [{"id": "1", "rules": rules(list(size, &|_| json!({})))}]})),
        ("classes", &|size| {
            let pattern: String = (0..size).map(|at| format!("[\\S{at}\\u0401]")).collect();
            let matching = json!({"match_type": "regexMatches", "negated": false});
            let item = json!({"key": "k", "value": pattern, "matching": matching});
            json!({"goals": [{"id": "1", "rules": rules(json!([item]))}]})
        }),
    ];
    for (name, config) in configs {
        let most = |size: usize| {
            let mut config = config(size);
            config["account_id"] = json!("1");
            config["project"] = json!({"id": "2"});
            let text = config.to_string();
            let core = crate::support::unready(convert_sdk::SdkConfig::builder().data_json(text.as_str()));
            let taken = measure(|| core.initialize().unwrap()).bytes_max;
            assert!(taken < 250 * text.len() as u64, "{name}: {taken} bytes for {}", text.len());
            taken
        };
        let (once, twice) = (most(1_000), most(2_000));
        assert!(twice < once * 5 / 2, "{name}: {once}, then {twice} bytes");
    }
}

#[test]
fn the_cost_per_handler_does_not_grow_with_their_number() {
    let core = start(direct());
    let add = |count: u64| {
        let added = measure(|| {
            (0..count).for_each(|_| core.on(LifecycleEventKind::Ready, |_| ()).unwrap());
        });
        added.bytes_total / count
    };
    let (first, later) = (add(1_000), add(7_000));
    assert!(later < 2 * first, "{first} bytes each, then {later}");
}
