use std::hint::black_box;

use optimizely::{AttributeValue, Client, DecideOptions};
use serde_json::{Value, json};

use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let experiment = |n: usize| {
        let id = |what: &str| format!("{what}-{n}");
        json!({
            "id": id("experiment"), "layerId": id("layer"), "audienceIds": [id("audience")],
            "trafficAllocation": [
                {"entityId": id("original"), "endOfRange": 5_000},
                {"entityId": id("variant"), "endOfRange": 10_000}
            ],
            "variations": [
                {"id": id("original"), "key": "original", "featureEnabled": true},
                {"id": id("variant"), "key": "variant", "featureEnabled": true}
            ]
        })
    };
    let audience = |n: usize| {
        json!({"id": format!("audience-{n}"), "name": "", "conditions": ["and",
            {"type": "custom_attribute", "match": "exact", "name": "plan", "value": "pro"},
            {"type": "custom_attribute", "match": "ge", "name": "age", "value": 18}
        ]})
    };
    let flag = |n: usize| json!({"key": experience_key(n), "rolloutId": "", "experimentIds": [format!("experiment-{n}")]});
    let each = |entity: &dyn Fn(usize) -> Value| -> Vec<Value> { (0..experiences).map(entity).collect() };
    let datafile = json!({
        "accountId": "1", "projectId": "2", "environmentKey": "production", "sdkKey": "local",
        "revision": "1", "botFiltering": false, "anonymizeIP": true, "events": [], "rollouts": [],
        "attributes": [{"id": "1", "key": "plan"}, {"id": "2", "key": "age"}],
        "typedAudiences": each(&audience), "experiments": each(&experiment), "featureFlags": each(&flag)
    });
    let Ok(client) = Client::from_string(datafile.to_string()) else { unreachable!("a config of a peer") };
    // Its contexts borrow the client and the id.
    let client: &'static Client = Box::leak(Box::new(client.initialize()));
    let context = |n: usize| {
        let mut context = client.create_user_context(visitor_id(n).leak());
        context.set_attribute("plan", AttributeValue::String("pro".to_owned()));
        context.set_attribute("age", AttributeValue::Integer(30));
        context
    };
    let contexts: Vec<_> = (0..visitors).map(context).collect();
    let options = DecideOptions { disable_decision_event: true, ..DecideOptions::default() };
    let key = experience_key(ASKED);
    Box::new(move |at| contexts[at].decide_with_options(black_box(&key), &options).enabled())
}
