//! Features and their typed variables.

use std::mem::MaybeUninit;

use convert_sdk::FeatureResult;
use serde_json::Value;

use crate::attributes::{ConvertAttribute, ConvertKind};
use crate::border::{ConvertString, Given, Out, Place, Versioned, give, is_size_of};
use crate::context::ConvertContext;
use crate::handles::ConvertFeatureHandle;
use crate::run::{ConvertRunOptions, options};
use crate::status::{Answer, ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;

/// A feature as one variation carries it. Set `size`, and the rest to zero, before the call. Its texts and
/// variables are valid until the context is changed or freed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertFeature {
    /// `sizeof(ConvertFeature)`.
    pub size: usize,
    /// The feature's id.
    pub feature_id: ConvertText,
    /// The feature's key.
    pub feature_key: ConvertText,
    /// The feature's name, if it has one.
    pub feature_name: ConvertText,
    /// The id of the experience that carries the feature.
    pub experience_id: ConvertText,
    /// The key of the experience that carries the feature.
    pub experience_key: ConvertText,
    /// The id of the variation that carries the feature.
    pub variation_id: ConvertText,
    /// The key of the variation that carries the feature.
    pub variation_key: ConvertText,
    /// The number of variables.
    pub variable_count: usize,
    /// For the library; do not change.
    pub reserved: [MaybeUninit<usize>; 10],
}

// SAFETY: `repr(C)`, the size first; read from the caller only if the mark is set.
unsafe impl Versioned for ConvertFeature {
    const FIRST: usize = size_of::<Self>();
}

/// The visitor's features; valid until the context is changed or freed. Free it as well, before or after the context.
pub struct ConvertFeatures(Vec<ConvertFeature>);

// SAFETY: its pointers are to texts and values that never change.
unsafe impl Send for ConvertFeatures {}
// SAFETY: as above.
unsafe impl Sync for ConvertFeatures {}

/// Says that `reserved` holds a result, not whatever was on the caller's stack.
const MARK: usize = 0x6665_6174;

const _: () = assert!(size_of::<FeatureResult<'_>>() <= 9 * size_of::<usize>());
const _: () = assert!(align_of::<FeatureResult<'_>>() <= align_of::<usize>());

impl ConvertFeature {
    fn of(result: FeatureResult<'_>) -> Self {
        let mut reserved = [MaybeUninit::new(MARK); 10];
        // SAFETY: the first nine words have the size and alignment, as asserted.
        unsafe { reserved.as_mut_ptr().cast::<FeatureResult<'_>>().write(result) };
        Self {
            size: size_of::<Self>(),
            feature_id: ConvertText::of(result.feature_id()),
            feature_key: ConvertText::of(result.feature_key()),
            feature_name: ConvertText::of_optional(result.feature_name()),
            experience_id: ConvertText::of(result.experience_id()),
            experience_key: ConvertText::of(result.experience_key()),
            variation_id: ConvertText::of(result.variation_id()),
            variation_key: ConvertText::of(result.variation_key()),
            variable_count: result.variables().count(),
            reserved,
        }
    }
}

/// The result behind a struct that an earlier call has filled.
fn of<'a>(feature: *const ConvertFeature) -> Answer<FeatureResult<'a>> {
    let unfilled = "no call has filled this feature";
    if feature.is_null() {
        return Err(Fault::null("feature"));
    }
    if !feature.is_aligned() {
        return Err(Fault::argument(unfilled));
    }
    // SAFETY: not null and aligned, as checked; the caller of the library guarantees a whole struct, of
    // pointers and integers.
    let feature = unsafe { feature.read() };
    // SAFETY: the caller's struct is initialized, at least to zero, as the header requires.
    let mark = unsafe { feature.reserved[9].assume_init() };
    if !is_size_of::<ConvertFeature>(feature.size) || mark != MARK {
        return Err(Fault::argument(unfilled));
    }
    // SAFETY: the mark is set, so the words before it are a result, whose context the caller of the library
    // keeps alive.
    Ok(unsafe { feature.reserved.as_ptr().cast::<FeatureResult<'a>>().read() })
}

/// A feature, with the variables of the first of the visitor's experiences that carries it. Decides,
/// remembers and reports every experience that it evaluates.
///
/// `call_options` may be null. `CONVERT_STATUS_NOT_IN_CONFIG` or `CONVERT_STATUS_NOT_CARRIED` if the visitor does
/// not have it; `result` is then unchanged. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_feature(
    context: Option<&ConvertContext>,
    key: ConvertText,
    call_options: *const ConvertRunOptions,
    result: *mut ConvertFeature,
) -> ConvertStatus {
    answer(|| {
        let (context, key) = (&need(context, "context")?.0, key.need("key")?);
        let place = Place::new(result, "result")?;
        let found = match options(call_options)? {
            None => context.run_feature(key),
            Some(options) => context.run_feature_with(key, &options),
        };
        place.write(ConvertFeature::of(found.map_err(ConvertStatus::from)?));
        Ok(())
    })
}

/// Like `convert_context_run_feature`, without the key lookup. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_feature_by_handle(
    context: Option<&ConvertContext>,
    handle: Option<&ConvertFeatureHandle>,
    call_options: *const ConvertRunOptions,
    result: *mut ConvertFeature,
) -> ConvertStatus {
    answer(|| {
        let (context, handle) = (&need(context, "context")?.0, &need(handle, "handle")?.0);
        let place = Place::new(result, "result")?;
        let found = match options(call_options)? {
            None => context.run_feature(handle),
            Some(options) => context.run_feature_with(handle, &options),
        };
        place.write(ConvertFeature::of(found.map_err(ConvertStatus::from)?));
        Ok(())
    })
}

/// Every feature that one of the visitor's experiences carries. `call_options` may be null. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_features(
    context: Option<&ConvertContext>,
    call_options: *const ConvertRunOptions,
    results: Given<'_, ConvertFeatures>,
) -> ConvertStatus {
    answer(|| {
        give(results, "results", || {
            let context = &need(context, "context")?.0;
            let found = context.run_features_with(&options(call_options)?.unwrap_or_default());
            Ok(ConvertFeatures(found.into_iter().map(ConvertFeature::of).collect()))
        })
    })
}

/// The number of features. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_features_count(results: Option<&ConvertFeatures>) -> usize {
    results.map_or(0, |results| results.0.len())
}

/// The feature at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_features_at(
    results: Option<&ConvertFeatures>,
    index: usize,
    result: *mut ConvertFeature,
) -> ConvertStatus {
    answer(|| {
        let found = need(results, "results")?.0.get(index).ok_or(ConvertStatus::Nothing)?;
        Place::new(result, "result")?.write(*found);
        Ok(())
    })
}

/// Frees the list; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_features_free(results: Option<Box<ConvertFeatures>>) {
    drop(results);
}

/// A boolean variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_boolean(
    feature: *const ConvertFeature,
    key: ConvertText,
    value: Out<'_, bool>,
) -> ConvertStatus {
    answer(|| variable(value, of(feature)?.boolean(key.need("key")?)))
}

/// An integer variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name, or its value is not an integer
/// that fits. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_integer(
    feature: *const ConvertFeature,
    key: ConvertText,
    value: Out<'_, i64>,
) -> ConvertStatus {
    answer(|| variable(value, of(feature)?.integer(key.need("key")?)))
}

/// A number variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_number(
    feature: *const ConvertFeature,
    key: ConvertText,
    value: Out<'_, f64>,
) -> ConvertStatus {
    answer(|| variable(value, of(feature)?.float(key.need("key")?)))
}

/// A text variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. The text is valid until the
/// context is changed or freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_text(
    feature: *const ConvertFeature,
    key: ConvertText,
    value: Out<'_, ConvertText>,
) -> ConvertStatus {
    answer(|| variable(value, of(feature)?.string(key.need("key")?).map(ConvertText::of)))
}

/// A variable of any type as JSON text, to be freed with `convert_string_free`; `CONVERT_STATUS_NO_VARIABLE`
/// if none has that name. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_json(
    feature: *const ConvertFeature,
    key: ConvertText,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let value = of(feature)?.variable(key.need("key")?).ok_or(ConvertStatus::NoVariable)?;
            ConvertString::json(value)
        })
    })
}

/// The variable at an index from 0, in order of name; `CONVERT_STATUS_NO_VARIABLE` beyond the last. For a
/// list or an object only the kind and the count are set; `convert_feature_json` has the rest. The texts are
/// valid until the context is changed or freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_variable_at(
    feature: *const ConvertFeature,
    index: usize,
    value: Out<'_, ConvertAttribute>,
) -> ConvertStatus {
    answer(|| {
        let found = of(feature)?.variables().nth(index);
        variable(value, found.map(|(name, value)| attribute(name, value)))
    })
}

fn variable<T>(place: Out<'_, T>, value: Option<T>) -> Answer {
    need(place, "value")?.write(value.ok_or(ConvertStatus::NoVariable)?);
    Ok(())
}

fn attribute(name: &str, value: &Value) -> ConvertAttribute {
    let mut attribute = ConvertAttribute {
        name: ConvertText::of(name),
        kind: ConvertKind::Null as u32,
        boolean: 0,
        number: 0.0,
        text: ConvertText::NONE,
        items: std::ptr::null(),
        count: 0,
    };
    let kind = match value {
        Value::Null => ConvertKind::Null,
        Value::Bool(value) => {
            attribute.boolean = (*value).into();
            ConvertKind::Boolean
        }
        Value::Number(value) => {
            attribute.number = value.as_f64().unwrap_or(f64::NAN);
            ConvertKind::Number
        }
        Value::String(value) => {
            attribute.text = ConvertText::of(value);
            ConvertKind::Text
        }
        Value::Array(values) => {
            attribute.count = values.len();
            ConvertKind::List
        }
        Value::Object(values) => {
            attribute.count = values.len();
            ConvertKind::Object
        }
    };
    attribute.kind = kind as u32;
    attribute
}
