//! What is written into a cookie, and what is accepted from one.

use std::time::Duration;

use convert_sdk_web::{InvalidCookie, SameSite, VisitorCookie};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const OTHER: &[u8] = b"another one of more than thirty-two bytes";

/// What a browser sends back for a `Set-Cookie` header.
fn sent(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

#[test]
fn a_plain_cookie_is_secure_http_only_and_lax_by_default() {
    assert_eq!(
        VisitorCookie::plain().write("visitor-1"),
        "convert_visitor=visitor-1; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=31536000"
    );
}

#[test]
fn every_attribute_can_be_chosen() {
    let cookie = VisitorCookie::plain()
        .name("_shop_visitor")
        .and_then(|it| it.domain("example.com"))
        .and_then(|it| it.max_age(Duration::from_secs(60)))
        .and_then(|it| it.secure(false))
        .and_then(|it| it.same_site(SameSite::Strict))
        .unwrap()
        .http_only(false);
    assert_eq!(
        cookie.write("visitor-1"),
        "_shop_visitor=visitor-1; SameSite=Strict; Path=/; Domain=example.com; Max-Age=60"
    );
}

#[test]
fn what_is_written_is_read_again() {
    for cookie in [VisitorCookie::plain(), VisitorCookie::signed(SECRET).unwrap()] {
        for id in ["0f3a", "a=b", "100%", "user@example.com", "\"quoted\"", "a;b,c"] {
            let set = cookie.write(id);
            assert_eq!(cookie.read([sent(&set)]).as_deref(), Some(id), "{set}");
        }
    }
}

#[test]
fn a_malformed_id_counts_as_no_cookie() {
    let cookie = VisitorCookie::plain();
    let long = format!("convert_visitor={}", "a".repeat(VisitorCookie::MAX_ID_BYTES + 1));
    let broken = [
        "",
        "convert_visitor",
        "convert_visitor=",
        "convert_visitor=%00",
        "convert_visitor=%FF",
        "convert_visitor=a%20b",
        "convert_visitor=caf\u{e9}",
        "Convert_Visitor=visitor-1",
        "other=visitor-1",
        "=;=;;",
        long.as_str(),
    ];
    for header in broken {
        assert_eq!(cookie.read([header]), None, "{header}");
    }
    let longest = "a".repeat(VisitorCookie::MAX_ID_BYTES);
    assert_eq!(cookie.read([sent(&cookie.write(&longest))]).as_deref(), Some(longest.as_str()));
}

#[test]
fn the_cookie_is_found_among_others() {
    let cookie = VisitorCookie::plain();
    let headers = ["a=1; broken; convert_visitor=%00", "convert_visitor=visitor-1; b=2"];
    assert_eq!(cookie.read(headers).as_deref(), Some("visitor-1"));
}

#[test]
fn a_signed_cookie_cannot_be_forged_or_changed() {
    let cookie = VisitorCookie::signed(SECRET).unwrap();
    let set = cookie.write("visitor-1");
    let good = sent(&set);
    let forged = [
        "convert_visitor=visitor-1".to_owned(),
        good.replace("visitor-1", "visitor-2"),
        good[..good.len() - 1].to_owned(),
        sent(&VisitorCookie::signed(OTHER).unwrap().write("visitor-1")).to_owned(),
    ];
    for header in &forged {
        assert_eq!(cookie.read([header.as_str()]), None, "{header}");
    }
    // A forged one in front does not hide the good one.
    assert_eq!(cookie.read([forged[0].as_str(), good]).as_deref(), Some("visitor-1"));
}

#[test]
fn only_one_signature_per_request_is_checked() {
    let cookie = VisitorCookie::signed(SECRET).unwrap();
    let other = VisitorCookie::signed(OTHER).unwrap().write("visitor-2");
    let own = cookie.write("visitor-1");
    let forged = format!("{}; ", sent(&other)).repeat(100);
    assert_eq!(cookie.read([format!("{forged}{}", sent(&own)).as_str()]), None);
    assert_eq!(cookie.read([format!("{}; {forged}", sent(&own)).as_str()]).as_deref(), Some("visitor-1"));
}

#[test]
fn another_spelling_of_the_name_is_another_cookie() {
    let cookie = VisitorCookie::plain().name("__Host-visitor").unwrap();
    for spelling in ["__%48ost-visitor", "__host-visitor", "%5F_Host-visitor"] {
        assert_eq!(cookie.read([format!("{spelling}=planted").as_str()]), None, "{spelling}");
    }
    let both = ["__%48ost-visitor=planted; __Host-visitor=visitor-1"];
    assert_eq!(cookie.read(both).as_deref(), Some("visitor-1"));
}

#[test]
fn a_name_is_written_as_it_is() {
    let name = "a|b#c^d'e~f!g&h*i";
    let cookie = VisitorCookie::plain().name(name).unwrap();
    let set = cookie.write("visitor-1");
    assert!(set.starts_with(&format!("{name}=visitor-1; ")), "{set}");
    assert_eq!(cookie.read([sent(&set)]).as_deref(), Some("visitor-1"));
}

#[test]
fn cookies_that_browsers_would_drop_are_rejected() {
    let plain = VisitorCookie::plain;
    let host = |name: &str| plain().name(name).unwrap();
    let dropped = [
        (host("__Host-a").domain("example.com"), "cookie_host_prefix"),
        (host("__hOST-a").domain("example.com"), "cookie_host_prefix"),
        (host("__Host-a").secure(false), "cookie_host_prefix"),
        (plain().domain("example.com").unwrap().name("__Host-a"), "cookie_host_prefix"),
        (plain().secure(false).unwrap().name("__Host-a"), "cookie_host_prefix"),
        (host("__Secure-a").secure(false), "cookie_secure_prefix"),
        (plain().secure(false).unwrap().name("__Secure-a"), "cookie_secure_prefix"),
        (plain().same_site(SameSite::None).unwrap().secure(false), "cookie_same_site_none"),
        (plain().secure(false).unwrap().same_site(SameSite::None), "cookie_same_site_none"),
        (plain().max_age(Duration::from_millis(999)), "cookie_max_age"),
    ];
    for (number, (made, code)) in dropped.into_iter().enumerate() {
        assert_eq!(made.map_err(|error| error.code()).unwrap_err(), code, "case {number}");
    }
    let kept = [
        plain().name("__Host-a"),
        host("__Secure-a").domain("example.com"),
        plain().same_site(SameSite::None),
        plain().max_age(Duration::from_secs(1)),
        host("Host-a").secure(false),
    ];
    for (number, made) in kept.into_iter().enumerate() {
        assert!(made.is_ok(), "case {number}");
    }
}

#[test]
fn a_rotated_secret_keeps_earlier_visitors() {
    let before = VisitorCookie::signed(OTHER).unwrap();
    let after = VisitorCookie::signed(SECRET).unwrap().earlier_secret(OTHER).unwrap();
    assert_eq!(after.read([sent(&before.write("visitor-1"))]).as_deref(), Some("visitor-1"));
    assert_eq!(before.read([sent(&after.write("visitor-1"))]), None, "the new secret signs");
}

#[test]
fn mistakes_are_named() {
    let mistakes = [
        (VisitorCookie::signed(b"too short"), InvalidCookie::SecretTooShort, "cookie_secret_too_short"),
        (VisitorCookie::plain().name(""), InvalidCookie::Name, "cookie_name"),
        (VisitorCookie::plain().name("a=b"), InvalidCookie::Name, "cookie_name"),
        (VisitorCookie::plain().domain("a.com; Path=/"), InvalidCookie::Domain, "cookie_domain"),
        (VisitorCookie::plain().earlier_secret(OTHER), InvalidCookie::NotSigned, "cookie_not_signed"),
    ];
    for (made, expected, code) in mistakes {
        let error = made.unwrap_err();
        assert_eq!((error, error.code()), (expected, code));
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", VisitorCookie::signed(SECRET).unwrap());
    assert_eq!(shown, "VisitorCookie { name: \"convert_visitor\", signed: true, .. }");
}
