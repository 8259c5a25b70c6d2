//! Sequences of calls of the C library, with handles that may be missing and texts that may be none.
#![no_main]

use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use convert::*;
use libfuzzer_sys::fuzz_target;

/// A config that every sequence can begin with.
const SHOP: &str = include_str!("../../examples/shop.json");
/// Keys that mean something in it, so that sequences get past the lookup.
const KEYS: [&str; 7] =
    ["checkout", "welcome-back", "checkout-form", "purchase", "members", "steps", "nobody"];

/// Reads the input to its end, then zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn text(&mut self) -> ConvertText {
        let kind = usize::from(self.byte());
        let bytes: &[u8] = match kind {
            0..=199 => KEYS[kind % KEYS.len()].as_bytes(),
            200..=219 => return ConvertText { data: null(), length: 0 },
            220..=229 => return ConvertText { data: null(), length: 3 },
            _ => {
                let length = usize::from(self.byte() % 16).min(self.0.len());
                let (text, rest) = self.0.split_at(length);
                self.0 = rest;
                text
            }
        };
        ConvertText { data: bytes.as_ptr().cast(), length: bytes.len() }
    }

    fn attribute(&mut self) -> ConvertAttribute {
        ConvertAttribute {
            name: self.text(),
            kind: u32::from(self.byte() % 8),
            boolean: u32::from(self.byte()),
            number: f64::from(self.byte()) / 3.0,
            text: self.text(),
            items: null(),
            count: usize::from(self.byte() / 250),
        }
    }
}

fn place<T>(call: impl FnOnce(Option<&mut MaybeUninit<Option<Box<T>>>>) -> ConvertStatus) -> Option<Box<T>> {
    let mut place = MaybeUninit::new(None);
    let status = call(Some(&mut place));
    // SAFETY: initialized above, and each call writes a whole value.
    let made = unsafe { place.assume_init() };
    assert_eq!(status == ConvertStatus::Ok, made.is_some());
    assert_ne!(status, ConvertStatus::Panic);
    made
}

fn zeroed<T: Copy>() -> T {
    // SAFETY: asked for the structs of the header only, for which zeros are a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut config: ConvertConfig = zeroed();
    config.size = size_of::<ConvertConfig>();
    config.data_json = ConvertText { data: SHOP.as_ptr().cast(), length: SHOP.len() };
    let pumped = input.byte() % 2 == 1;
    config.batch_size = u64::from(input.byte());
    config.lanes = u64::from(input.byte() % 20);
    // Without threads, so that nothing happens but by the calls; nobody carries what is asked for.
    let mut pump = MaybeUninit::new(None);
    let core = place(|core| convert_core_new_pumped(&raw const config, core, Some(&mut pump)));
    // SAFETY: initialized above.
    let pump: Option<Box<ConvertPump>> = unsafe { pump.assume_init() };
    let pump = pump.map_or(null_mut(), Box::into_raw);
    if pumped {
        drop(place(|question| convert_pump_initialize(pump, question)));
    }
    let mut context: Option<Box<ConvertContext>> = None;
    let mut requests: Vec<Box<ConvertRequest>> = Vec::new();
    let mut experience: ConvertExperience = zeroed();
    let mut feature: ConvertFeature = zeroed();
    while !input.0.is_empty() {
        let (key, other, item) = (input.text(), input.text(), input.attribute());
        (experience.size, feature.size) = (size_of::<ConvertExperience>(), size_of::<ConvertFeature>());
        if input.byte() > 250 {
            experience.size = usize::from(input.byte());
        }
        let status = match input.byte() % 21 {
            0 => {
                // What its results have of it goes with it.
                feature = zeroed();
                drop(context.take());
                context = place(|made| convert_context_new(core.as_deref(), key, &raw const item, 1, made));
                ConvertStatus::Ok
            }
            1 => convert_context_run_experience(context.as_deref(), key, null(), &raw mut experience),
            2 => convert_context_run_feature(context.as_deref(), key, null(), &raw mut feature),
            3 => {
                let mut value = MaybeUninit::uninit();
                convert_feature_integer(&raw const feature, key, Some(&mut value))
            }
            4 => {
                let mut value = MaybeUninit::uninit();
                convert_feature_variable_at(
                    &raw const feature,
                    usize::from(item.boolean as u8),
                    Some(&mut value),
                )
            }
            5 => convert_context_track(context.as_deref(), key, null()),
            6 => {
                let data =
                    ConvertGoalData { key: item.boolean, kind: item.kind, number: item.number, text: other };
                let mut options: ConvertConversionOptions = zeroed();
                (options.size, options.data, options.data_count) =
                    (size_of_val(&options), &raw const data, 1);
                convert_context_track(context.as_deref(), key, &raw const options)
            }
            7 => {
                feature = zeroed();
                convert_context_set_attributes(context.as_deref_mut(), &raw const item, 1)
            }
            8 => {
                feature = zeroed();
                convert_context_set_location(context.as_deref_mut(), &raw const item, 1)
            }
            9 => {
                feature = zeroed();
                convert_context_run_custom_segments(
                    context.as_deref_mut(),
                    &raw const key,
                    1,
                    &raw const item,
                    1,
                    None,
                )
            }
            10 => {
                feature = zeroed();
                convert_context_set_preview(context.as_deref_mut(), key, other)
            }
            11 => convert_pump_turn(pump, u64::from(input.byte()), null_mut()),
            12 => {
                requests.extend(place(|request| convert_pump_next_request(pump, request)));
                ConvertStatus::Ok
            }
            13 => {
                let id = requests
                    .pop()
                    .map_or(u64::from(item.boolean), |request| convert_request_id(Some(&request)));
                let status = [200, 304, 400, 413, 503][usize::from(input.byte() % 5)];
                convert_pump_answer(pump, id, status, null(), 0, other)
            }
            14 => convert_pump_fail(pump, u64::from(item.boolean), item.kind),
            15 => {
                let mut question = place(|made| convert_pump_flush(pump, u64::from(item.boolean), 1, made));
                convert_question_check(question.as_deref_mut(), null_mut())
            }
            16 => {
                drop(place(|json| {
                    convert_context_diagnose_experience(context.as_deref(), key, null(), json)
                }));
                ConvertStatus::Ok
            }
            17 => {
                drop(place(|all| convert_context_run_experiences(context.as_deref(), null(), all)));
                ConvertStatus::Ok
            }
            18 => {
                let mut question = place(|made| convert_pump_initialize(pump, made));
                convert_question_check(question.as_deref_mut(), null_mut())
            }
            19 => {
                let mut question = place(|made| convert_pump_close(pump, made));
                convert_question_check(question.as_deref_mut(), null_mut())
            }
            _ => {
                let mut stats: ConvertStats = zeroed();
                stats.size = size_of::<ConvertStats>();
                let status = convert_core_stats(core.as_deref(), &raw mut stats);
                let ends = stats.deduplicated + stats.delivered + stats.pending + stats.dropped;
                assert_eq!(stats.recorded, ends);
                status
            }
        };
        assert_ne!(status, ConvertStatus::Panic);
    }
    convert_pump_free(pump);
});
