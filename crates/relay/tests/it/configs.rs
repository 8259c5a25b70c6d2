//! The config route.

use std::io::Read;

use convert_emulator::{Emulator, Fault, FaultKind, Project};
use convert_relay::KeySettings;
use flate2::read::GzDecoder;
use redis::Commands;

use crate::server::Redis;
use crate::support::{KEY, LONG, Program, Running, client, exposure, settings, world};

fn path(query: &str) -> String {
    format!("/api/v1/config/{KEY}{query}")
}

#[test]
fn clients_share_one_request_to_convert() {
    let Some((redis, convert)) = world(&[]) else { return };
    let (one, two) = (Running::start(settings(&redis, &convert)), Running::start(settings(&redis, &convert)));
    for _ in 0..16 {
        for relay in [&one, &two] {
            let served = relay.get(&path(""));
            assert_eq!(served.status, 200);
            assert!(served.body.contains("homepage-headline"));
        }
    }
    assert_eq!(convert.received().totals.config_requests, 1);
}

#[test]
fn convert_gets_one_request_per_interval_whoever_dies() {
    let Some((redis, convert)) = world(&[]) else { return };
    // Far longer than the test: an interval ends only where the test ends it.
    let start = || Program::start(&redis, &convert, "config_interval_ms = 3600000");
    let mut relays = [start(), start()];
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for interval in 1..=6 {
        std::thread::scope(|scope| {
            for number in 0..32 {
                let url = format!("{}{}", relays[number % 2].url, path(""));
                scope.spawn(move || assert_eq!(client().get(url).call().unwrap().status(), 200));
            }
        });
        let polled = convert.wait_until(LONG, |it| it.totals.config_requests >= interval).unwrap();
        // Whichever of the two had the turn, it dies in one of two intervals.
        let dead = usize::try_from(interval % 2).unwrap();
        relays[dead] = start();
        assert_eq!(client().get(format!("{}{}", relays[dead].url, path(""))).call().unwrap().status(), 200);
        assert_eq!(convert.received().totals.config_requests, polled.totals.config_requests);
        assert_eq!(polled.totals.config_requests, interval);
        let turn = format!("convert-relay:{{{KEY}}}:turn:");
        let left: i64 = connection.pttl(&turn).unwrap();
        assert!(left > 0 && left <= 3_600_000, "the turn ends by itself: {left}");
        let _: u64 = connection.del(&turn).unwrap();
    }
}

#[test]
fn a_known_etag_is_answered_304() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let etag = relay.get(&path("")).etag.unwrap();
    let url = format!("{}{}", relay.url, path(""));
    let again = client().get(url).header("if-none-match", &etag).call().unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(convert.received().totals.config_requests, 1);
}

#[test]
fn polls_ask_with_the_etag_and_a_change_is_served() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut quick = settings(&redis, &convert);
    quick.config_interval_ms = 100;
    let relay = Running::start(quick);
    assert_eq!(relay.get(&path("")).status, 200);
    let polled =
        convert.wait_until(LONG, |it| it.requests.iter().any(|asked| asked.status == Some(304))).unwrap();
    assert!(polled.totals.config_requests >= 2);
    let changed =
        include_str!("../../../emulator/projects/demo.json").replace("homepage-headline", "changed-key");
    convert.set_config(KEY, changed).unwrap();
    convert.clear();
    // The first poll gets the new config; the next one follows its publication.
    convert.wait_until(LONG, |it| it.totals.config_requests >= 3).unwrap();
    assert!(relay.get(&path("")).body.contains("changed-key"));
}

#[test]
fn a_relay_whose_clock_is_ahead_serves_what_another_stored() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.get(&path("")).status, 200);
    let changed =
        include_str!("../../../emulator/projects/demo.json").replace("homepage-headline", "changed-key");
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    // By a clock that is decades behind.
    let stored = [("tag", "other"), ("confirmed", "1"), ("etag", ""), ("body", &changed)];
    let _: () = connection.hset_multiple(format!("convert-relay:{{{KEY}}}:config:"), &stored).unwrap();
    let until = std::time::Instant::now() + LONG;
    while !relay.get(&path("")).body.contains("changed-key") {
        assert!(std::time::Instant::now() < until, "another relay's config is ignored");
    }
}

#[test]
fn the_last_good_config_outlives_convert_and_the_relay() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let good = relay.get(&path("?environment=production")).body;
    convert.inject(Fault::config(FaultKind::status(429)).times(1));
    let busy = relay.get(&path("?environment=production&_conv_low_cache=1"));
    assert_eq!((busy.status, &busy.body), (200, &good));
    relay.stop();
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.get(&path("?environment=production")).body, good);
    let low_cache = relay.get(&path("?environment=production&_conv_low_cache=1"));
    assert_eq!((low_cache.status, low_cache.body), (200, good));
    let never_seen = relay.get(&path("?exp=100320101"));
    assert_eq!((never_seen.status, never_seen.retry_after.as_deref()), (503, Some("2")));
}

#[test]
fn the_last_good_config_is_served_while_convert_hangs() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let good = relay.get(&path("")).body;
    relay.stop();
    convert.clear();
    convert.inject(Fault::config(FaultKind::Hang));
    // The next one polls at once.
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let _: u64 = connection.del(format!("convert-relay:{{{KEY}}}:turn:")).unwrap();
    let relay = Running::start(settings(&redis, &convert));
    convert.wait_for_requests(1, LONG).unwrap();
    assert_eq!(relay.get(&path("")).body, good);
    assert_eq!(convert.received().totals.answered, 0, "the client waited for Convert");
    // So that the relay need not wait for the poll that hangs.
    convert.go_offline();
}

#[test]
fn a_config_is_compressed_for_clients_that_accept_it() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let whole = relay.get(&path("")).body;
    let answer = |header: &str| {
        let request = format!("GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n", path(""));
        let answer = relay.raw(request.as_bytes());
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    };
    let (head, body) = answer("accept-encoding: br, gzip\r\n");
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    let mut unpacked = String::new();
    GzDecoder::new(body.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, whole);
    let (head, body) = answer("");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(body, whole.as_bytes());
}

#[test]
fn two_sdk_keys_have_configs_events_and_metrics_of_their_own() {
    const OTHER: &str = "20035569/20034190";
    let Some(redis) = Redis::start(&[]) else { return };
    let other = include_str!("../../../emulator/projects/demo.json").replace("10034190", "20034190");
    let other = Project::from_json(other).sdk_key(OTHER);
    let convert = Emulator::builder().project(Project::demo()).project(other).start().unwrap();
    let mut both = settings(&redis, &convert);
    both.keys.push(KeySettings::new(OTHER));
    let relay = Running::start(both);
    for (key, project, another) in [(KEY, "10034190", "20034190"), (OTHER, "20034190", "10034190")] {
        assert!(relay.get(&format!("/api/v1/config/{key}")).body.contains(project));
        let of_project = |project: &str| exposure("v").replace("10034190", project);
        assert_eq!(relay.post_to(key, &of_project(another), &[]).status, 400, "the other key's");
        assert_eq!(relay.post_to(key, &of_project(project), &[]).status, 200);
    }
    let received = convert.wait_for_events(2, LONG).unwrap();
    assert_eq!((received.totals.events, received.totals.flawed), (2, 0));
    for (key, project) in [(KEY, "10034190"), (OTHER, "20034190")] {
        let of_key = received.requests.iter().filter(|it| it.path.ends_with(&format!("/track/{key}")));
        let numbers: Vec<_> = of_key.map(|it| it.number).collect();
        let of_project = received.events.iter().filter(|it| it.project_id == project);
        assert_eq!(of_project.map(|it| it.request).collect::<Vec<_>>(), numbers, "{key}");
    }
    let metrics = relay.admin("/metrics").body;
    for label in ["0:10035569…", "1:20035569…"] {
        let line = format!("convert_relay_events_accepted_total{{key=\"{label}\"}} 1");
        assert!(metrics.lines().any(|it| it == line), "{metrics}");
    }
}

#[test]
fn a_bad_answer_does_not_replace_a_good_config() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut quick = settings(&redis, &convert);
    quick.config_interval_ms = 100;
    let relay = Running::start(quick);
    let good = relay.get(&path("")).body;
    for bad in [FaultKind::GarbageBody, FaultKind::EmptyBody, FaultKind::status(500)] {
        convert.clear();
        convert.inject(Fault::config(bad));
        convert.wait_until(LONG, |it| it.totals.config_requests >= 2).unwrap();
        assert_eq!(relay.get(&path("")).body, good);
        convert.clear_faults();
    }
    for whose in ["10034190", "10035569"] {
        let other = include_str!("../../../emulator/projects/demo.json").replace(whose, "999");
        convert.clear();
        convert.set_config(KEY, other).unwrap();
        convert.wait_until(LONG, |it| it.totals.config_requests >= 2).unwrap();
        assert_eq!(relay.get(&path("")).body, good, "another project's, another account's");
    }
}

#[test]
fn environments_are_apart_and_single_experiences_pass_through() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let production = relay.get(&path("?environment=production")).body;
    let staging = relay.get(&path("?environment=staging")).body;
    assert!(production.contains("pricing-discount") && !staging.contains("pricing-discount"));
    let one = relay.get(&path("?exp=100320101&_conv_low_cache=1")).body;
    assert!(one.contains("homepage-headline") && !one.contains("search-ranking"));
    let received = convert.received();
    let exp = received.requests.iter().filter(|it| it.query_value("exp").as_deref() == Some("100320101"));
    assert_eq!(exp.count(), 1);
    assert_eq!(relay.metric("config_passed_through_total"), 1);
    assert_eq!(relay.get(&path("?environment=production&_conv_low_cache=1")).body, production);
    let low_cache = convert.received().requests.into_iter().filter(|it| {
        it.query_value("_conv_low_cache").as_deref() == Some("1") && it.query_value("exp").is_none()
    });
    let environments: Vec<_> = low_cache.map(|it| it.query_value("environment")).collect();
    assert_eq!(environments, [Some("production".to_owned())]);
}

#[test]
fn without_redis_configs_are_still_served() {
    let Some((mut redis, convert)) = world(&[]) else { return };
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.get(&path("")).status, 200);
    assert_eq!(relay.post(&exposure("v")).status, 503);
}

#[test]
fn clients_need_the_secret_and_convert_gets_its_own() {
    let Some((redis, _)) = world(&[]) else { return };
    let convert = Emulator::builder().project(Project::demo().secret("upstream")).start().unwrap();
    let text = format!("client_secret = 'mine'\n[[keys]]\nsdk_key = '{KEY}'\nsecret = 'upstream'");
    let with_secrets = convert_relay::Settings::from_toml(&text).unwrap();
    let mut settings = settings(&redis, &convert);
    (settings.client_secret, settings.keys) = (with_secrets.client_secret, with_secrets.keys);
    // Secrets are sent only over HTTPS.
    let authority = redis.folder.join("ca.pem");
    convert.write_ca(&authority).unwrap();
    (settings.config_base_url, settings.ca_file) = (Some(convert.config_url()), Some(authority));
    let relay = Running::start(settings);
    let status = |sent: Option<&str>| {
        let mut request = client().get(format!("{}{}", relay.url, path("")));
        if let Some(sent) = sent {
            request = request.header("authorization", sent);
        }
        request.call().unwrap().status().as_u16()
    };
    assert_eq!([status(None), status(Some("Bearer no")), status(Some("Bearer mine"))], [401, 403, 200]);
    let asked = convert.received();
    let sent: Vec<_> = asked.requests.iter().map(|it| it.header("authorization")).collect();
    assert_eq!(sent, [Some("Bearer upstream")]);
}
