//! Whose configs a relay accepts.

use convert_emulator::{Fault, FaultKind};
use convert_relay::Secret;
use redis::Commands;

use crate::events::connect;
use crate::proxy::Proxy;
use crate::support::{KEY, LONG, Running, exposure, free_port, settings, world};

const PROJECT: &str = "convert-relay:{10035569/10034190}:project";
const CONFIG: &str = "convert-relay:{10035569/10034190}:config:";

fn path() -> String {
    format!("/api/v1/config/{KEY}")
}

fn of_project(id: &str) -> String {
    include_str!("../../../emulator/projects/demo.json").replace("10034190", id)
}

#[test]
fn another_project_does_not_replace_the_one_in_redis() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let good = relay.get(&path()).body;
    relay.stop();
    convert.set_config(KEY, of_project("999")).unwrap();
    convert.clear();
    // Redis comes back while the poll is in progress, so that the next that it hears is the config.
    convert.inject(Fault::config(FaultKind::Delay { ms: 3000 }).times(1));
    let proxy = Proxy::to(free_port());
    let mut cut_off = settings(&redis, &convert);
    (cut_off.redis, cut_off.config_interval_ms) = (Secret::new(proxy.url()), 100);
    let relay = Running::start(cut_off);
    convert.wait_for_requests(1, LONG).unwrap();
    proxy.lead_to(redis.port, false);
    convert.wait_until(LONG, |it| it.totals.config_requests >= 3).unwrap();
    let kept: String = connect(&redis).hget(CONFIG, "body").unwrap();
    assert!(kept == good, "Redis has another project's");
    assert!(relay.get(&path()).body == good);
}

#[test]
fn a_config_without_redis_refuses_no_events() {
    let Some((mut redis, convert)) = world(&[]) else { return };
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    convert.set_config(KEY, of_project("999")).unwrap();
    let relay = Running::start(settings(&redis, &convert));
    assert!(relay.get(&path()).body.contains("999"));
    assert_eq!(relay.post(&exposure("v")).status, 503, "the config may be the wrong one");
}

#[test]
fn an_operator_accepts_a_change_of_project() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut quick = settings(&redis, &convert);
    quick.config_interval_ms = 100;
    let relay = Running::start(quick);
    let good = relay.get(&path()).body;
    let changed = of_project("999");
    convert.set_config(KEY, &changed).unwrap();
    convert.clear();
    convert.wait_until(LONG, |it| it.totals.config_requests >= 3).unwrap();
    assert!(relay.get(&path()).body == good);
    let passed = relay.get(&format!("{}?_conv_low_cache=1", path())).body;
    assert!(passed == good, "it is passed through");
    let mut connection = connect(&redis);
    assert_eq!(connection.get::<_, String>(PROJECT).unwrap(), "10035569/10034190");
    let _: () = connection.set(PROJECT, "10035569/999").unwrap();
    let until = std::time::Instant::now() + LONG;
    while relay.get(&path()).body == good {
        assert!(std::time::Instant::now() < until, "the change is not accepted");
    }
    assert_eq!(relay.post(&exposure("v").replace("10034190", "999")).status, 200);
    assert_eq!(relay.post(&exposure("v")).status, 400);
}
