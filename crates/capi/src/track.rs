//! Conversions.

use convert_sdk::{
    Context, ContextError, ConversionOptions, ConversionStatus, GoalDataKey, GoalHandle, GoalValue,
};

use crate::attributes::{ConvertAttribute, ConvertKind, attributes};
use crate::border::{Versioned, list, read};
use crate::context::ConvertContext;
use crate::handles::ConvertGoalHandle;
use crate::options::milliseconds;
use crate::status::{Answer, ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;

/// The keys of goal data.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertGoalKey {
    /// The revenue, in the project's currency; a number.
    Amount = 0,
    /// The number of products.
    ProductsCount = 1,
    /// The transaction's id.
    TransactionId = 2,
    /// A custom dimension of the project.
    CustomDimension1 = 3,
    /// A custom dimension of the project.
    CustomDimension2 = 4,
    /// A custom dimension of the project.
    CustomDimension3 = 5,
    /// A custom dimension of the project.
    CustomDimension4 = 6,
    /// A custom dimension of the project.
    CustomDimension5 = 7,
}

/// An entry of a conversion's data. The last value of a duplicate key counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertGoalData {
    /// Which one: a `ConvertGoalKey`.
    pub key: u32,
    /// `CONVERT_KIND_NUMBER` or `CONVERT_KIND_TEXT`.
    pub kind: u32,
    /// The value of a number; must be finite.
    pub number: f64,
    /// The value of a text.
    pub text: ConvertText,
}

/// Options of a conversion, only read during the call. Set `size` and the rest to zero, then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertConversionOptions {
    /// `sizeof(ConvertConversionOptions)`.
    pub size: usize,
    /// The goal data, including the revenue. An empty list that is not null counts as goal data, too.
    pub data: *const ConvertGoalData,
    /// The number of entries.
    pub data_count: usize,
    /// Converts only if the goal's rules match these. With a null pointer the rules are not evaluated.
    pub rule_data: *const ConvertAttribute,
    /// The number of attributes.
    pub rule_data_count: usize,
    /// Not 0: the goal data of every call is sent, even if the visitor has already converted the goal.
    /// Otherwise later orders are not sent, whatever their revenue.
    pub force_multiple: u32,
    /// Must be zero.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, the size first, integers and pointers after it.
unsafe impl Versioned for ConvertConversionOptions {
    const FIRST: usize = size_of::<Self>();

    fn reserved(&self) -> u32 {
        self.reserved
    }
}

/// Records that the visitor reached a goal. Never waits. A conversion counts once per visitor and goal; see
/// `force_multiple`.
///
/// `call_options` may be null. `CONVERT_STATUS_OK` means that the record was handed to the tracker; any other
/// status says why not. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_track(
    context: Option<&ConvertContext>,
    goal_key: ConvertText,
    call_options: *const ConvertConversionOptions,
) -> ConvertStatus {
    answer(|| {
        let (context, key) = (&need(context, "context")?.0, goal_key.need("goal_key")?);
        let result = match options(call_options)? {
            None => context.track_conversion(key),
            Some(options) => context.track_conversion_with(key, &options),
        };
        outcome(result.status)
    })
}

/// Like `convert_context_track`, without the key lookup. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_track_by_handle(
    context: Option<&ConvertContext>,
    handle: Option<&ConvertGoalHandle>,
    call_options: *const ConvertConversionOptions,
) -> ConvertStatus {
    answer(|| {
        let (context, handle) = (&need(context, "context")?.0, &need(handle, "handle")?.0);
        if call_options.is_null() {
            return outcome(context.track_conversion(handle).status);
        }
        track_with_options(context, handle, call_options)
    })
}

#[cold]
fn track_with_options(
    context: &Context,
    handle: &GoalHandle,
    call_options: *const ConvertConversionOptions,
) -> Answer {
    let options = options(call_options)?.unwrap_or_default();
    outcome(context.track_conversion_with(handle, &options).status)
}

/// Like `convert_context_track`, but waits up to `timeout` milliseconds for the tracker to say whether it is
/// a duplicate: `CONVERT_STATUS_DEDUPLICATED`, or `CONVERT_STATUS_UNCONFIRMED` if it does not say in time.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_track_confirmed(
    context: Option<&ConvertContext>,
    goal_key: ConvertText,
    call_options: *const ConvertConversionOptions,
    timeout: u64,
) -> ConvertStatus {
    answer(|| {
        let (context, key) = (&need(context, "context")?.0, goal_key.need("goal_key")?);
        let options = options(call_options)?.unwrap_or_default();
        outcome(context.track_conversion_confirmed(key, &options, milliseconds(timeout)).status)
    })
}

#[inline]
fn outcome(status: ConversionStatus) -> Answer {
    match status {
        ConversionStatus::Queued => Ok(()),
        ConversionStatus::Closed => Err(ContextError::Closed.into()),
        status => Err(ConvertStatus::from(status).into()),
    }
}

fn options(options: *const ConvertConversionOptions) -> Answer<Option<ConversionOptions>> {
    let Some(given) = read(options, "options")? else { return Ok(None) };
    let mut options = ConversionOptions::new().force_multiple(given.force_multiple != 0);
    if let Some(data) = list(given.data, given.data_count, "data")? {
        let data: Answer<Vec<_>> = data.iter().map(entry).collect();
        options = options.goal_data(data?);
    }
    if !given.rule_data.is_null() || given.rule_data_count > 0 {
        options = options.rule_data(attributes(given.rule_data, given.rule_data_count)?);
    }
    Ok(Some(options))
}

fn entry(data: &ConvertGoalData) -> Answer<(GoalDataKey, GoalValue)> {
    const KEYS: [GoalDataKey; 8] = [
        GoalDataKey::Amount,
        GoalDataKey::ProductsCount,
        GoalDataKey::TransactionId,
        GoalDataKey::CustomDimension1,
        GoalDataKey::CustomDimension2,
        GoalDataKey::CustomDimension3,
        GoalDataKey::CustomDimension4,
        GoalDataKey::CustomDimension5,
    ];
    let unknown = || Fault::argument("a goal data entry's key is none of ConvertGoalKey");
    let key = KEYS.get(data.key as usize).copied().ok_or_else(unknown)?;
    let value = match data.kind {
        kind if kind == ConvertKind::Number as u32 => data.number.into(),
        kind if kind == ConvertKind::Text as u32 => data.text.need("the text of a goal data entry")?.into(),
        _ => return Err(Fault::argument("a goal data entry is neither a number nor a text")),
    };
    Ok((key, value))
}
