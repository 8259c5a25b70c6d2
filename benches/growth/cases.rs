//! Work over n elements of the kinds that an attacker or an odd config would choose.

use std::hint::black_box;

use convert_sdk::{
    Attributes, Context, Core, RunOptions, SdkConfig, SdkConfigBuilder, adapters::InMemoryDataStore,
    events::LifecycleEventKind, ports::DataStore,
};
use serde_json::{Value, json};

pub(crate) type Work = Box<dyn FnOnce()>;
type Make = fn(usize) -> Work;

/// The set-up is not measured.
pub(crate) const CASES: &[(&str, Make)] = &[
    ("config: references to audiences of one id", |size| {
        let audiences = list(size, |_| json!({"id": "a", "key": "a"}));
        let experience = json!({"id": "1", "key": "1", "audiences": list(size, |_| json!("a"))});
        load(json!({"audiences": audiences, "experiences": [experience]}))
    }),
    ("config: experiences for audiences of one id", |size| {
        let audiences = list(size, |_| json!({"id": "a", "key": "a"}));
        let experience = |at: usize| json!({"id": at, "key": at, "audiences": ["a", at.to_string()]});
        load(json!({"audiences": audiences, "experiences": list(size, experience)}))
    }),
    ("config: variations of one experience", |size| {
        let variation = |at: usize| json!({"id": at.to_string(), "key": "v", "traffic_allocation": 0.001});
        load(json!({"experiences": [{"id": "1", "key": "1", "variations": list(size, variation)}]}))
    }),
    ("config: variables of a feature", |size| {
        let variables = list(size, |at| json!({"key": format!("v{at}"), "type": "integer"}));
        let values: Value =
            (0..size).map(|at| (format!("v{at}"), json!("1"))).collect::<serde_json::Map<_, _>>().into();
        let change =
            json!({"type": "fullStackFeature", "data": {"feature_id": "1", "variables_data": values}});
        load(json!({
            "features": [{"id": "1", "key": "f", "variables": variables}],
            "experiences": [{"id": "1", "key": "1", "variations": [{"id": "1", "changes": [change]}]}],
        }))
    }),
    ("config: experiences of one key with features", |size| {
        let change = json!({"type": "fullStackFeature", "data": {"feature_id": "1"}});
        let first = json!({"id": "0", "key": "k", "variations": [{"id": "1", "changes": list(size, |_| change.clone())}]});
        let mut experiences = list(size, |at| json!({"id": at.to_string(), "key": "k"}));
        experiences[0] = first;
        load(json!({"features": [{"id": "1", "key": "f"}], "experiences": experiences}))
    }),
    ("config: malformed items", |size| load(goals(list(size, |_| json!({}))))),
    ("config: named groups of a pattern", |size| {
        load(goals(json!([regex((0..size).map(|at| format!("(?<g{at}>a)")).collect())])))
    }),
    ("config: classes of a pattern", |size| {
        load(goals(json!([regex((0..size).map(|at| format!("[\\S{at}\\u0401]")).collect())])))
    }),
    ("attributes: names in no order", |size| {
        let names: Vec<String> = (0..size).map(|at| format!("name-{}", at * 7_919 % size)).collect();
        Box::new(move || {
            black_box(names.into_iter().map(|name| (name, 1)).collect::<Attributes>());
        })
    }),
    ("attributes: values of lists that unite", |size| {
        let core = core(json!({"experiences": []}));
        let values = |from: usize| (from..from + size / 2).map(|at| format!("v{at}")).collect::<Vec<_>>();
        let mut context = context(&core, Attributes::new().with("source", values(0)));
        let more = Attributes::new().with("source", values(size / 4));
        Box::new(move || context.set_segments(black_box(more)))
    }),
    ("run_experiences, the first time", |size| {
        let core = core(json!({"experiences": list(size, experience)}));
        Box::new(move || assert_eq!(context(&core, Attributes::new()).run_experiences().len(), size))
    }),
    ("run_experiences, with variations that are gone", |size| {
        let sections = json!({"experiences": list(size, experience)});
        let gone: Value =
            (0..size).map(|at| (at.to_string(), json!("gone"))).collect::<serde_json::Map<_, _>>().into();
        let store = InMemoryDataStore::new();
        let state = json!({"attributes": {}, "segments": {}, "bucketing": gone});
        assert!(store.set(r#"state:["visitor"]"#, state, None).is_ok());
        let core = ready(unready_with(sections, |config| config.data_store(store)));
        Box::new(move || assert_eq!(context(&core, Attributes::new()).run_experiences().len(), size))
    }),
    ("run_experience of each, the first time", |size| {
        let core = core(json!({"experiences": list(size, experience)}));
        let keys: Vec<String> = (0..size).map(|at| format!("e{at}")).collect();
        Box::new(move || {
            let context = context(&core, Attributes::new());
            assert!(keys.iter().all(|key| context.run_experience(key).is_ok()));
        })
    }),
    ("run_features, declared in the other order", |size| {
        let feature = |at: usize| json!({"id": at.to_string(), "key": at.to_string()});
        let change = |at: usize| json!({"type": "fullStackFeature", "data": {"feature_id": (size - 1 - at).to_string()}});
        let variation = json!({"id": "1", "traffic_allocation": 100, "changes": list(size, change)});
        let experiences = json!([{"id": "1", "key": "1", "variations": [variation]}]);
        let core = core(json!({"features": list(size, feature), "experiences": experiences}));
        Box::new(move || assert_eq!(context(&core, Attributes::new()).run_features().len(), size))
    }),
    ("run_features of experiences asked for", |size| {
        let core = core(json!({"experiences": list(size, experience)}));
        let options = RunOptions::new().experience_keys((0..size).map(|at| format!("e{at}")));
        Box::new(move || assert!(context(&core, Attributes::new()).run_features_with(&options).is_empty()))
    }),
    ("run_custom_segments of many", |size| {
        let open =
            json!([{"key": "k", "value": "x", "matching": {"match_type": "doesNotExist", "negated": false}}]);
        let segment = |at: usize| json!({"id": at.to_string(), "key": at.to_string(), "rules": rules(&open)});
        let core = core(json!({"segments": list(size, segment)}));
        let keys: Vec<String> = (0..size).map(|at| at.to_string()).collect();
        Box::new(move || {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            assert!(context(&core, Attributes::new()).run_custom_segments(&keys).matched());
        })
    }),
    ("rule: tokens among elements of a list", |size| {
        let elements = (0..size).map(|at| format!("e{at}|")).collect::<String>();
        let tokens = (0..size).map(|at| format!("t{at}|")).collect::<String>();
        let item =
            json!([{"key": "k", "value": elements, "matching": {"match_type": "isIn", "negated": false}}]);
        decide(&item, tokens)
    }),
    ("rule: lookaheads along a text", |size| {
        decide(&json!([regex("^(?:(?=(a))a)*$".to_owned())]), "a".repeat(size))
    }),
    ("handlers", |size| {
        let core = core(json!({}));
        Box::new(move || {
            for _ in 0..size {
                assert!(core.on(LifecycleEventKind::Diagnostic, |_| ()).is_ok());
            }
        })
    }),
];

fn list(size: usize, element: impl Fn(usize) -> Value) -> Value {
    (0..size).map(element).collect()
}

fn experience(at: usize) -> Value {
    let variation = json!({"id": at.to_string(), "key": "v", "traffic_allocation": 100});
    json!({"id": at.to_string(), "key": format!("e{at}"), "variations": [variation]})
}

fn rules(items: &Value) -> Value {
    json!({"OR": [{"AND": [{"OR_WHEN": items}]}]})
}

fn goals(items: Value) -> Value {
    json!({"goals": [{"id": "1", "key": "goal", "rules": rules(&items)}]})
}

fn regex(pattern: String) -> Value {
    json!({"key": "k", "value": pattern, "matching": {"match_type": "regexMatches", "negated": false}})
}

fn unready(sections: Value) -> Core {
    unready_with(sections, |config| config)
}

fn unready_with(mut sections: Value, also: impl FnOnce(SdkConfigBuilder) -> SdkConfigBuilder) -> Core {
    sections["account_id"] = json!("1");
    sections["project"] = json!({"id": "2"});
    let config = also(SdkConfig::builder().data(&sections).tracking(false)).build();
    let Ok(config) = config else { unreachable!("the options are valid") };
    Core::new(config)
}

fn core(sections: Value) -> Core {
    ready(unready(sections))
}

fn ready(core: Core) -> Core {
    assert!(core.initialize().is_ok());
    core
}

/// From the text to a ready core.
fn load(sections: Value) -> Work {
    let core = unready(sections);
    Box::new(move || assert!(core.initialize().is_ok()))
}

/// One decision about an audience with these items.
fn decide(items: &Value, text: String) -> Work {
    let experience = json!({"id": "1", "key": "1", "audiences": ["a"], "variations": [{"id": "1"}]});
    let audience = json!({"id": "a", "key": "a", "rules": rules(items)});
    let core = core(json!({"experiences": [experience], "audiences": [audience]}));
    let context = context(&core, Attributes::new().with("k", text));
    Box::new(move || {
        black_box(context.run_experience("1").is_ok());
    })
}

fn context(core: &Core, attributes: Attributes) -> Context {
    let Ok(context) = core.create_context("visitor", attributes) else { unreachable!("the core is ready") };
    context
}
