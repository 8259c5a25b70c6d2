//! Experiences: decided, remembered, reported.

use convert_sdk::{DecisionSource, ExperienceResult, RunOptions};

use crate::attributes::{ConvertAttribute, attributes};
use crate::border::{Given, Place, Versioned, give, list_or_empty, read};
use crate::context::ConvertContext;
use crate::handles::ConvertExperienceHandle;
use crate::status::{Answer, ConvertStatus, answer, need};
use crate::text::ConvertText;

/// Where a decision came from.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertSource {
    /// It was made earlier and remembered.
    Stored = 0,
    /// It was made now, from the visitor's hash.
    Hashed = 1,
    /// A preview or the call requested this variation.
    Forced = 2,
    /// A source that this version of the library does not know.
    Other = 3,
}

/// Options of one evaluation, only read during the call. Set `size` and the rest to zero, then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertRunOptions {
    /// `sizeof(ConvertRunOptions)`.
    pub size: usize,
    /// Merged over the context's attributes for this call.
    pub attributes: *const ConvertAttribute,
    /// The number of attributes.
    pub attribute_count: usize,
    /// Merged over the context's location attributes for this call.
    pub location: *const ConvertAttribute,
    /// The number of location attributes.
    pub location_count: usize,
    /// The environment for this call, instead of the configured one.
    pub environment: ConvertText,
    /// Forces the variation with this id for a visitor who passes every check of the experience.
    pub force_variation_id: ConvertText,
    /// The experiences that a feature call evaluates; none means all.
    pub experience_keys: *const ConvertText,
    /// The number of keys.
    pub experience_key_count: usize,
    /// Not 0: the exposure is not recorded.
    pub tracking_off: u32,
    /// Not 0: a new decision is not remembered.
    pub storage_off: u32,
    /// Not 0: feature variables are as served instead of converted to their declared types.
    pub type_casting_off: u32,
    /// Must be zero.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, the size first, integers and pointers after it.
unsafe impl Versioned for ConvertRunOptions {
    const FIRST: usize = size_of::<Self>();

    fn reserved(&self) -> u32 {
        self.reserved
    }
}

/// A visitor's variation of an experience. Set `size` before the call. The texts are valid until the context
/// is changed or freed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertExperience {
    /// `sizeof(ConvertExperience)`.
    pub size: usize,
    /// Where the decision came from.
    pub source: ConvertSource,
    /// The bucket value, if `source` is `CONVERT_SOURCE_HASHED`.
    pub bucket_value: u32,
    /// The experience's id.
    pub experience_id: ConvertText,
    /// The experience's key.
    pub experience_key: ConvertText,
    /// The experience's name, if it has one.
    pub experience_name: ConvertText,
    /// The variation's id.
    pub variation_id: ConvertText,
    /// The variation's key; empty if the config has none.
    pub variation_key: ConvertText,
    /// The variation's name, if it has one.
    pub variation_name: ConvertText,
}

// SAFETY: `repr(C)`, the size first; never read from the caller, so `source` always has a valid value.
unsafe impl Versioned for ConvertExperience {
    const FIRST: usize = size_of::<Self>();
}

/// The visitor's experiences; valid until the context is changed or freed. Free it as well, before or after the context.
pub struct ConvertExperiences(Vec<ConvertExperience>);

// SAFETY: its pointers are to texts that never change.
unsafe impl Send for ConvertExperiences {}
// SAFETY: as above.
unsafe impl Sync for ConvertExperiences {}

impl ConvertExperience {
    #[inline(always)]
    fn of(result: &ExperienceResult<'_>) -> Self {
        let (source, bucket_value) = match result.source() {
            DecisionSource::Stored => (ConvertSource::Stored, 0),
            DecisionSource::Hashed { bucket } => (ConvertSource::Hashed, bucket),
            DecisionSource::Forced => (ConvertSource::Forced, 0),
            _ => (ConvertSource::Other, 0),
        };
        Self {
            size: size_of::<Self>(),
            source,
            bucket_value,
            experience_id: ConvertText::of(result.experience_id()),
            experience_key: ConvertText::of(result.experience_key()),
            experience_name: ConvertText::of_optional(result.experience_name()),
            variation_id: ConvertText::of(result.variation_id()),
            variation_key: ConvertText::of(result.variation_key()),
            variation_name: ConvertText::of_optional(result.variation_name()),
        }
    }
}

/// The options of a call; `None` for a null pointer.
pub(crate) fn options(options: *const ConvertRunOptions) -> Answer<Option<RunOptions>> {
    let Some(given) = read(options, "options")? else { return Ok(None) };
    let mut options = RunOptions::new()
        .attributes(attributes(given.attributes, given.attribute_count)?)
        .location(attributes(given.location, given.location_count)?)
        .enable_tracking(given.tracking_off == 0)
        .enable_storage(given.storage_off == 0)
        .type_casting(given.type_casting_off == 0);
    if let Some(environment) = given.environment.read("environment")? {
        options = options.environment(environment);
    }
    if let Some(id) = given.force_variation_id.read("force_variation_id")? {
        options = options.force_variation_id(id);
    }
    let keys = list_or_empty(given.experience_keys, given.experience_key_count, "experience_keys")?;
    let keys: Answer<Vec<&str>> = keys.iter().map(|key| key.need("an experience key")).collect();
    Ok(Some(options.experience_keys(keys?)))
}

/// The variation of one experience for this visitor. A new decision is remembered, and the visitor's first exposure
/// recorded, without waiting.
///
/// `call_options` may be null. Without a variation, the status says why (`CONVERT_STATUS_NOT_IN_CONFIG` and the
/// following), and `result` is unchanged. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_experience(
    context: Option<&ConvertContext>,
    key: ConvertText,
    call_options: *const ConvertRunOptions,
    result: *mut ConvertExperience,
) -> ConvertStatus {
    answer(|| {
        let (context, key) = (&need(context, "context")?.0, key.need("key")?);
        let place = Place::new(result, "result")?;
        let decided = match options(call_options)? {
            None => context.run_experience(key),
            Some(options) => context.run_experience_with(key, &options),
        };
        place.write(ConvertExperience::of(&decided.map_err(ConvertStatus::from)?));
        Ok(())
    })
}

/// Like `convert_context_run_experience`, without the key lookup. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_experience_by_handle(
    context: Option<&ConvertContext>,
    handle: Option<&ConvertExperienceHandle>,
    call_options: *const ConvertRunOptions,
    result: *mut ConvertExperience,
) -> ConvertStatus {
    answer(|| {
        let (context, handle) = (&need(context, "context")?.0, &need(handle, "handle")?.0);
        let place = Place::new(result, "result")?;
        let decided = if call_options.is_null() {
            context.run_experience(handle)
        } else {
            run_with_options(context, handle, call_options)?
        };
        place.write(ConvertExperience::of(&decided.map_err(ConvertStatus::from)?));
        Ok(())
    })
}

#[cold]
fn run_with_options<'c>(
    context: &'c convert_sdk::Context,
    handle: &convert_sdk::ExperienceHandle,
    call_options: *const ConvertRunOptions,
) -> Answer<Result<ExperienceResult<'c>, convert_sdk::Undecided>> {
    let options = options(call_options)?.unwrap_or_default();
    Ok(context.run_experience_with(handle, &options))
}

/// Every experience that has a variation for this visitor, in config order. `call_options` may be null.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_experiences(
    context: Option<&ConvertContext>,
    call_options: *const ConvertRunOptions,
    results: Given<'_, ConvertExperiences>,
) -> ConvertStatus {
    answer(|| {
        give(results, "results", || {
            let context = &need(context, "context")?.0;
            let decided = context.run_experiences_with(&options(call_options)?.unwrap_or_default());
            Ok(ConvertExperiences(decided.iter().map(ConvertExperience::of).collect()))
        })
    })
}

/// The number of experiences. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_experiences_count(results: Option<&ConvertExperiences>) -> usize {
    results.map_or(0, |results| results.0.len())
}

/// The experience at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_experiences_at(
    results: Option<&ConvertExperiences>,
    index: usize,
    result: *mut ConvertExperience,
) -> ConvertStatus {
    answer(|| {
        let found = need(results, "results")?.0.get(index).ok_or(ConvertStatus::Nothing)?;
        Place::new(result, "result")?.write(*found);
        Ok(())
    })
}

/// Frees the list; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_experiences_free(results: Option<Box<ConvertExperiences>>) {
    drop(results);
}
