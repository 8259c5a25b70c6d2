//! What a call through C allocates compared to the same call in Rust.
#![expect(unsafe_code, reason = "calls as C makes them")]
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail where it stands")]

use std::mem::MaybeUninit;
use std::ptr::null;

use allocation_counter::measure;
use convert::*;
use convert_sdk::{Core, SdkConfig, attributes};

const SHOP: &str = include_str!("../../../examples/shop.json");
const ROUNDS: u64 = 1_000;

fn text(text: &str) -> ConvertText {
    ConvertText { data: text.as_ptr().cast(), length: text.len() }
}

fn made<T>(make: impl FnOnce(Option<&mut MaybeUninit<Option<Box<T>>>>) -> ConvertStatus) -> Box<T> {
    let mut place = MaybeUninit::new(None);
    assert_eq!(make(Some(&mut place)), ConvertStatus::Ok);
    // SAFETY: it was initialized, and the call has written it.
    unsafe { place.assume_init() }.expect("a handle")
}

#[test]
fn a_call_through_c_allocates_no_more_than_in_rust() {
    let core = Core::new(SdkConfig::builder().data_json(SHOP).build().unwrap());
    core.initialize().unwrap();
    let context = core.create_context("visitor-4", attributes! { "age" => 30 }).unwrap();
    let (checkout, purchase) = (core.experience("checkout").unwrap(), core.goal("purchase").unwrap());
    context.run_experience(&checkout).unwrap();
    let in_rust = measure(|| {
        for _ in 0..ROUNDS {
            context.run_experience(&checkout).unwrap();
            assert!(context.track_conversion(&purchase).tracked());
        }
    });

    // SAFETY: all zeros are a configuration with nothing set.
    let mut config: ConvertConfig = unsafe { MaybeUninit::zeroed().assume_init() };
    (config.size, config.data_json) = (size_of::<ConvertConfig>(), text(SHOP));
    let core = made(|place| convert_core_new(&raw const config, place));
    assert_eq!(convert_core_initialize(Some(&core), 0), ConvertStatus::Ok);
    let core = Some(&*core);
    // SAFETY: all zeros are an attribute without a name.
    let mut age: ConvertAttribute = unsafe { MaybeUninit::zeroed().assume_init() };
    (age.name, age.kind, age.number) = (text("age"), ConvertKind::Number as u32, 30.0);
    let context = made(|place| convert_context_new(core, text("visitor-4"), &raw const age, 1, place));
    let checkout = made(|place| convert_experience_handle_new(core, text("checkout"), place));
    let purchase = made(|place| convert_goal_handle_new(core, text("purchase"), place));
    // SAFETY: all zeros are a result with nothing in it.
    let mut shown: ConvertExperience = unsafe { MaybeUninit::zeroed().assume_init() };
    shown.size = size_of::<ConvertExperience>();
    let mut run =
        || convert_context_run_experience_by_handle(Some(&context), Some(&checkout), null(), &raw mut shown);
    assert_eq!(run(), ConvertStatus::Ok);
    let through_c = measure(|| {
        for _ in 0..ROUNDS {
            assert_eq!(run(), ConvertStatus::Ok);
            let tracked = convert_context_track_by_handle(Some(&context), Some(&purchase), null());
            assert_eq!(tracked, ConvertStatus::Ok);
        }
    });
    assert!(
        through_c.count_total <= in_rust.count_total,
        "{} allocations through C, {} in Rust",
        through_c.count_total,
        in_rust.count_total
    );
}
