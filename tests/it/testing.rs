//! The module for the tests of applications, used as they use it.

use convert_sdk::testing::{Recorded, Rule, TestCore, TestCoreError, TestData, TestExperience};
use convert_sdk::{
    Attributes, ConversionOptions, DecisionSource, GoalDataKey, GoalValue, RunOptions, Undecided, attributes,
};

fn shop() -> TestData {
    let adults = Rule::at_least("age", 18).and(Rule::not_equals("plan", "free"));
    TestData::new()
        .audience("adults", adults)
        .segment("members", Rule::equals("member", true))
        .location("cart", Rule::contains("url", "/cart"))
        .experience(
            TestExperience::new("checkout")
                .audience("adults")
                .variation("original")
                .variation("one-page")
                .feature("form", attributes! { "steps" => 1, "title" => "Pay", "sticky" => true, "rate" => 0.5, "ways" => ["card"] }),
        )
        .experience(TestExperience::new("greeting").audience("members").variation("warm"))
        .experience(TestExperience::new("upsell").location("cart").variation("none").traffic(0.0).variation("box").traffic(100.0))
        .goal("purchase")
        .goal_with("big-order", Rule::more("total", 100))
}

#[test]
fn the_real_engine_decides_on_the_built_config() {
    let test = shop().start().unwrap();
    let adult = test.create_context("v", attributes! { "age" => 30, "plan" => "pro" }).unwrap();
    assert!(adult.run_experience("checkout").is_ok());
    for attributes in
        [attributes! { "age" => 12, "plan" => "pro" }, attributes! { "age" => 30, "plan" => "Free" }]
    {
        let refused = test.create_context("w", attributes).unwrap();
        assert_eq!(refused.run_experience("checkout").unwrap_err(), Undecided::Audience);
    }
    let mut member = test.create_context("m", attributes! { "member" => true }).unwrap();
    assert!(member.run_experience("greeting").is_err());
    member.run_custom_segments(&["members"]);
    assert_eq!(member.run_experience("greeting").unwrap().variation_key(), "warm");
    assert_eq!(member.run_experience("upsell").unwrap_err(), Undecided::Location);
    let member = member.with_location(attributes! { "url" => "https://shop.example/cart" });
    assert_eq!(member.run_experience("upsell").unwrap().variation_key(), "box");
}

/// As Convert decides.
#[test]
fn lists_are_compared_with_case_and_other_text_without() {
    let decides = |rule: Rule, attributes: Attributes| {
        let data = TestData::new().audience("those", rule);
        let data = data.experience(TestExperience::new("x").audience("those").variation("a"));
        data.start().unwrap().create_context("v", attributes).unwrap().run_experience("x").is_ok()
    };
    for (country, matches) in [("gr", true), ("GR", false), ("fr|gr", true), ("FR|GR", false)] {
        for listed in ["GR", "gr"] {
            let attributes = attributes! { "country" => country };
            assert_eq!(
                decides(Rule::is_in("country", [listed]), attributes),
                matches,
                "{country} in {listed}"
            );
        }
    }
    for (tag, matches) in [("GR", true), ("gr", false)] {
        assert_eq!(decides(Rule::equals("tags", "GR"), attributes! { "tags" => [tag] }), matches, "[{tag}]");
        assert!(decides(Rule::equals("tags", "GR"), attributes! { "tags" => tag }), "{tag}");
    }
}

#[test]
fn a_built_feature_has_its_variables_with_their_types() {
    let test = shop().start().unwrap();
    test.force("checkout", "one-page").unwrap();
    let visitor = test.create_context("v", ()).unwrap();
    let form = visitor.run_feature("form").unwrap();
    assert_eq!((form.integer("steps"), form.string("title")), (Some(1), Some("Pay")));
    assert_eq!((form.boolean("sticky"), form.float("rate")), (Some(true), Some(0.5)));
    assert_eq!(form.variable("ways").map(ToString::to_string).as_deref(), Some(r#"["card"]"#));
}

#[test]
fn the_built_config_has_no_warnings() {
    let json = shop().to_json().unwrap().to_string();
    let compiled =
        convert_evaluation::config::compile(json, &convert_evaluation::config::CompileOptions::default());
    assert_eq!(compiled.unwrap().warnings.len(), 0);
}

#[test]
fn a_forced_variation_needs_no_rule_and_is_recorded() {
    let test = shop().start().unwrap();
    test.force("checkout", "one-page").unwrap();
    test.force_for("w", "checkout", "original").unwrap();
    for (visitor, wanted) in [("v", "one-page"), ("w", "original")] {
        let context = test.create_context(visitor, ()).unwrap();
        let shown = context.run_experience("checkout").unwrap();
        assert_eq!((shown.variation_key(), shown.source()), (wanted, DecisionSource::Forced));
        assert_eq!(test.exposures_of(visitor), [("checkout", wanted)]);
        assert!(context.diagnose_experience("checkout").resolved());
    }
    test.force("checkout", "original").unwrap();
    assert_eq!(
        test.create_context("v", ()).unwrap().run_experience("checkout").unwrap().variation_key(),
        "original"
    );
    test.force_nothing();
    assert_eq!(
        test.create_context("new", ()).unwrap().run_experience("checkout").unwrap_err(),
        Undecided::Audience
    );
}

#[test]
fn a_forced_variation_is_decided_for_many_too() {
    let test = shop().start().unwrap();
    test.force_for("v", "checkout", "one-page").unwrap();
    let (config, nothing) = (test.current_config().unwrap(), attributes! {});
    let mut shown = Vec::new();
    let visitors = [("v", &nothing), ("w", &nothing)];
    test.decide_many(&config, "checkout", visitors, &RunOptions::new(), &mut shown);
    assert_eq!(shown[0].unwrap().variation_key(), "one-page");
    assert_eq!(shown[1].unwrap_err(), Undecided::Audience);
}

#[test]
fn a_remembered_decision_can_be_explained_afresh() {
    let data = TestData::new().experience(TestExperience::new("x").variation("a").variation("b"));
    let context = data.start().unwrap().create_context("v", ()).unwrap();
    let bucket = context.run_experience("x").unwrap().bucket_value();
    assert!(bucket.is_some());
    let plain = context.diagnose_experience("x");
    assert_eq!((plain.bucket_value, plain.explanation.unwrap().outcome), (None, "stored"));
    let afresh = context.diagnose_experience_with("x", &RunOptions::new().explain_afresh(true));
    assert_eq!((afresh.bucket_value, afresh.explanation.unwrap().outcome), (bucket, "hashed"));
}

#[test]
fn an_unknown_key_is_an_error() {
    let test = shop().start().unwrap();
    let said = |error: TestCoreError| error.to_string();
    assert_eq!(
        test.force("checkout", "no-such").map_err(said).unwrap_err(),
        "the experience \"checkout\" has no variation \"no-such\""
    );
    let nowhere = test.force_for("v", "no-such", "original").map_err(said);
    assert_eq!(nowhere.unwrap_err(), "no experience has the key \"no-such\"");
    let broken = TestData::new().experience(TestExperience::new("x").audience("nobody"));
    assert!(matches!(broken.start(), Err(TestCoreError::Unknown { key, .. }) if key == "nobody"));
    assert!(matches!(TestCore::from_json("{"), Err(TestCoreError::Config(_))));
}

#[test]
fn data_that_does_not_fit_together_is_an_error() {
    let experience = || TestExperience::new("x").variation("a");
    let data = TestData::new;
    for (data, message) in [
        (data().goal("g").goal("g"), "more than one goal has the key \"g\""),
        (
            data().experience(experience()).experience(experience()),
            "more than one experience has the key \"x\"",
        ),
        (
            data().audience("a", Rule::exists("n")).segment("a", Rule::exists("n")),
            "more than one audience has the key \"a\"",
        ),
        (data().experience(experience().variation("a")), "more than one variation has the key \"a\""),
        (
            data().experience(experience().traffic(80.0).variation("b")),
            "the variations of \"x\" take 130 % of the visitors",
        ),
        (
            data().experience(experience().traffic(f64::NAN)),
            "the variations of \"x\" take NaN % of the visitors",
        ),
        (
            data().experience(experience().traffic(-5.0).variation("b").traffic(5.0)),
            "the variations of \"x\" take 0 % of the visitors",
        ),
        (
            data().experience(TestExperience::new("x").traffic(50.0).variation("a")),
            "a share or a feature of \"x\" comes before its first variation",
        ),
        (
            data().goal_with("g", Rule::matches("name", "(")),
            "the built config: goals[0].rules.OR[0].AND[0].OR_WHEN[0]: never matches: the regular expression is not valid",
        ),
    ] {
        assert_eq!(data.start().unwrap_err().to_string(), message);
    }
    let thirds = experience().traffic(100.0 / 3.0).variation("b").traffic(100.0 / 3.0).variation("c");
    assert!(data().experience(thirds).start().is_ok());
    assert!(data().experience(experience().traffic(20.0)).start().is_ok());
}

#[test]
fn a_failed_assertion_shows_what_was_recorded() {
    let test = shop().start().unwrap();
    let visitor = test.create_context("v", attributes! { "country" => "GR" }).unwrap();
    visitor.track_conversion_with("purchase", &ConversionOptions::new().revenue(49.9));
    let shown = format!("{:?}", test.conversions_of("v"));
    assert!(shown.contains(r#"{"amount": 49.9}"#) && shown.contains(r#"{"country": "GR"}"#), "{shown}");
}

#[test]
fn what_is_recorded_is_there_when_the_call_returns() {
    let test = shop().start().unwrap();
    let visitor =
        test.create_context("v", attributes! { "age" => 30, "plan" => "pro", "country" => "GR" }).unwrap();
    let shown = visitor.run_experience("checkout").unwrap().variation_key().to_owned();
    let order = ConversionOptions::new().revenue(49.9).data(GoalDataKey::TransactionId, "tx-1");
    visitor.track_conversion_with("purchase", &order);
    visitor.track_conversion_with("purchase", &order);
    visitor.track_conversion_with("purchase", &order.clone().force_multiple(true));
    let conversions = test.conversions_of("v");
    assert_eq!(conversions, ["purchase", "purchase"]);
    assert_eq!((conversions[0].first, conversions[1].first), (true, false));
    assert_eq!(conversions[0].revenue(), Some(49.9));
    assert_eq!(conversions[0].data(GoalDataKey::TransactionId), Some(&GoalValue::from("tx-1")));
    assert_eq!(conversions[0].variations, [("checkout".into(), shown.into())]);
    assert_eq!(conversions[0].segments, attributes! { "country" => "GR" });
    assert_eq!((test.take_recorded().len(), test.recorded().len()), (3, 0));
    assert!(test.stats().is_balanced());
}

#[test]
fn tests_do_not_see_each_other() {
    let (one, other) = (shop().start().unwrap(), shop().start().unwrap());
    one.force("checkout", "one-page").unwrap();
    one.create_context("v", ()).unwrap().track_conversion("purchase");
    assert!(other.recorded().is_empty());
    assert!(other.create_context("v", ()).unwrap().run_experience("checkout").is_err());
    assert!(matches!(&one.recorded()[..], [Recorded::Conversion(it)] if *it == "purchase"));
}

/// Counted in a process of its own, because the tests of this binary share one.
#[cfg(target_os = "linux")]
#[test]
fn a_test_core_starts_no_thread() {
    crate::child::run("testing::in_a_child", "no threads");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by another test of this module, in a child process"]
fn in_a_child() {
    let Some(_) = crate::child::case() else { return };
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let test = shop().start().unwrap();
    let visitor = test.create_context("v", attributes! { "age" => 30, "plan" => "pro" }).unwrap();
    visitor.run_experience("checkout").unwrap();
    visitor.track_conversion("purchase");
    assert_eq!((test.recorded().len(), threads()), (2, before));
    test.close();
    assert_eq!(threads(), before);
}
