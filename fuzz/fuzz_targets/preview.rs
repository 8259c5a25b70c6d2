//! Arbitrary text as a preview parameter, and arbitrary ids as a preview.
#![no_main]

use std::sync::LazyLock;

use convert_fuzz::{SHOP, offline};
use convert_sdk::{Context, Core, parse_preview_param};
use libfuzzer_sys::fuzz_target;

static CORE: LazyLock<Core> = LazyLock::new(|| offline(SHOP).expect("a served config"));

fn shown(context: &Context) -> Vec<(String, String)> {
    let results = context.run_experiences().into_iter();
    results.map(|it| (it.experience_id().to_owned(), it.variation_id().to_owned())).collect()
}

fuzz_target!(|value: &str| {
    let param = parse_preview_param(value);
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let ids = value.split_once('.').filter(|(one, other)| is_digits(one) && is_digits(other));
    assert_eq!(
        param.as_ref().map(|param| (param.experience_id.as_str(), param.variation_id.as_str())),
        ids,
        "a parameter is two ids and a dot"
    );

    let mut context = CORE.create_context("visitor-4", ()).expect("the core is ready");
    let before = shown(&context);
    let (experience, variation) = value.split_once('.').unwrap_or((value, value));
    match context.set_preview(experience, variation) {
        Ok(()) => {
            let forced = (experience.to_owned(), variation.to_owned());
            assert!(context.is_preview() && shown(&context).contains(&forced), "the preview is not shown");
        }
        Err(_) => assert!(!context.is_preview()),
    }
    context.clear_preview();
    assert_eq!(shown(&context), before, "a preview left something behind");
});
