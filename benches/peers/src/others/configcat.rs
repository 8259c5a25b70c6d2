use std::collections::HashMap;
use std::hint::black_box;

use configcat::{Client, OverrideBehavior, OverrideDataSource, PollingMode, Setting, User};
use serde_json::json;

use super::{at_once, parsed};
use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{Request, asked_keys};
use crate::{Evaluate, Server};

struct Local(HashMap<String, Setting>);

impl OverrideDataSource for Local {
    fn settings(&self) -> &HashMap<String, Setting> {
        &self.0
    }
}

fn started(experiences: usize) -> Client {
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
    client
}

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let client = started(experiences);
    let user = |n: usize| User::new(&visitor_id(n)).custom("plan", "pro").custom("age", 30.0);
    let users: Vec<_> = (0..visitors).map(user).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        // A call takes its user by value.
        let user = Some(users[at].clone());
        !at_once(client.get_value(black_box(&key), String::new(), user)).is_empty()
    })
}

/// It remembers no visitor and records nothing.
pub(crate) fn requests(experiences: usize) -> impl Server {
    let (client, [first, second, third]) = (started(experiences), asked_keys());
    move |request: &Request| {
        let user = User::new(&request.id)
            .country(&request.country)
            .custom("age", request.age)
            .custom("browser", request.browser.as_str())
            .custom("plan", request.plan.as_str())
            .custom("beta", if request.beta { "true" } else { "false" });
        let has_value = |key: &str, user: User| {
            !at_once(client.get_value(black_box(key), String::new(), Some(user))).is_empty()
        };
        has_value(&first, user.clone()) && has_value(&second, user.clone()) && has_value(&third, user)
    }
}
