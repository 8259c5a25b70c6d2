use std::collections::HashMap;
use std::hint::black_box;

use configcat::{Client, OverrideBehavior, OverrideDataSource, PollingMode, Setting, User};
use serde_json::json;

use super::{at_once, parsed};
use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

struct Local(HashMap<String, Setting>);

impl OverrideDataSource for Local {
    fn settings(&self) -> &HashMap<String, Setting> {
        &self.0
    }
}

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let setting = parsed::<Setting>(json!({
        "t": 1, "v": {"s": ""},
        "r": [{
            "c": [{"u": {"a": "plan", "c": 28, "s": "pro"}}, {"u": {"a": "age", "c": 15, "d": 18.0}}],
            "p": [{"p": 50, "v": {"s": "original"}}, {"p": 50, "v": {"s": "variant"}}]
        }]
    }));
    let settings = (0..experiences).map(|n| (experience_key(n), setting.clone())).collect();
    let client = Client::builder("local")
        .polling_mode(PollingMode::Manual)
        .overrides(Box::new(Local(settings)), OverrideBehavior::LocalOnly)
        .build();
    let Ok(client) = client else { unreachable!("a client of a peer") };
    let user = |n: usize| User::new(&visitor_id(n)).custom("plan", "pro").custom("age", 30.0);
    let users: Vec<_> = (0..visitors).map(user).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        // A call takes its user by value.
        let user = Some(users[at].clone());
        !at_once(client.get_value(black_box(&key), String::new(), user)).is_empty()
    })
}
