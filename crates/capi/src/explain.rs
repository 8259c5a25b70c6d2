//! Diagnoses and config entities, as JSON text.

use convert_sdk::config::EntityKind;

use crate::border::{ConvertString, Given, give};
use crate::context::ConvertContext;
use crate::run::{ConvertRunOptions, options};
use crate::status::{Answer, ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;

/// What an experience would decide, and why, step by step; nothing is stored or recorded. `call_options` may be
/// null. Free the JSON text with `convert_string_free`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_diagnose_experience(
    context: Option<&ConvertContext>,
    key: ConvertText,
    call_options: *const ConvertRunOptions,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let options = options(call_options)?.unwrap_or_default();
            ConvertString::json(
                &need(context, "context")?.0.diagnose_experience_with(key.need("key")?, &options),
            )
        })
    })
}

/// Why a visitor has a feature or not; otherwise like `convert_context_diagnose_experience`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_diagnose_feature(
    context: Option<&ConvertContext>,
    key: ConvertText,
    call_options: *const ConvertRunOptions,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let options = options(call_options)?.unwrap_or_default();
            ConvertString::json(
                &need(context, "context")?.0.diagnose_feature_with(key.need("key")?, &options),
            )
        })
    })
}

/// Whether the config has a goal; otherwise like `convert_context_diagnose_experience`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_diagnose_goal(
    context: Option<&ConvertContext>,
    key: ConvertText,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            ConvertString::json(&need(context, "context")?.0.diagnose_goal(key.need("key")?))
        })
    })
}

/// An entity of the config as served. `kind` is `experience`, `feature`, `goal`, `audience`, `segment`,
/// `location` or `variation`. `CONVERT_STATUS_NOT_IN_CONFIG` if none has this key. For occasional use. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_entity(
    context: Option<&ConvertContext>,
    kind: ConvertText,
    key: ConvertText,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let (context, kind) = (&need(context, "context")?.0, entity_kind(&kind)?);
            ConvertString::json(
                &context.get_config_entity(kind, key.need("key")?).ok_or(ConvertStatus::NotInConfig)?,
            )
        })
    })
}

/// Like `convert_context_entity`, by the entity's id. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_entity_by_id(
    context: Option<&ConvertContext>,
    kind: ConvertText,
    id: ConvertText,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let (context, kind) = (&need(context, "context")?.0, entity_kind(&kind)?);
            ConvertString::json(
                &context.get_config_entity_by_id(kind, id.need("id")?).ok_or(ConvertStatus::NotInConfig)?,
            )
        })
    })
}

fn entity_kind(kind: &ConvertText) -> Answer<EntityKind> {
    kind.need("kind")?.parse().map_err(|_| Fault::argument("no such kind of entity"))
}
