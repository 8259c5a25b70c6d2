//! A context: one visitor, and calls that change what is known about them.

use convert_sdk::{Context, parse_preview_param};

use crate::attributes::{ConvertAttribute, attributes};
use crate::border::{Given, give, list_or_empty};
use crate::core::ConvertCore;
use crate::status::{Answer, ConvertStatus, Fault, answer, need, value};
use crate::text::ConvertText;

/// One visitor, with the config that was current when the context was made.
///
/// Calls that take it as `const` may run on any number of threads at the same time; calls that change it, and
/// `convert_context_free`, need exclusive access. Texts in results belong to it: they are valid until it is
/// changed or freed.
pub struct ConvertContext(pub(crate) Context);

/// Ids of custom segments; see `convert_context_run_custom_segments`.
pub struct ConvertTexts(Vec<Box<str>>);

/// Makes a context for a visitor. The attributes apply to this context only; report keys among them (`country`,
/// `browser`, ...) become segments, which are remembered. Does not wait.
///
/// `CONVERT_STATUS_NOT_READY` or `CONVERT_STATUS_CLOSED` if the core is not ready or closed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_new(
    core: Option<&ConvertCore>,
    visitor_id: ConvertText,
    items: *const ConvertAttribute,
    count: usize,
    context: Given<'_, ConvertContext>,
) -> ConvertStatus {
    answer(|| {
        give(context, "context", || {
            let visitor_id = visitor_id.need("visitor_id")?;
            let attributes = attributes(items, count)?;
            Ok(ConvertContext(need(core, "core")?.0.create_context(visitor_id, attributes)?))
        })
    })
}

/// Frees the context and everything that results borrow from it; no other thread may be in a call with it. Null
/// is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_free(context: Option<Box<ConvertContext>>) {
    answer(|| {
        drop(context);
        Ok(())
    });
}

/// The visitor's id; valid as long as the context. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_visitor_id(context: Option<&ConvertContext>) -> ConvertText {
    value(ConvertText::NONE, || Ok(ConvertText::of(need(context, "context")?.0.visitor_id())))
}

/// Sets attributes for this context and the visitor's later ones, replacing equal names. Changes the context:
/// no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_set_attributes(
    context: Option<&mut ConvertContext>,
    items: *const ConvertAttribute,
    count: usize,
) -> ConvertStatus {
    answer(|| {
        need(context, "context")?.0.set_attributes(attributes(items, count)?);
        Ok(())
    })
}

/// Replaces the location attributes, against which location rules are evaluated. Changes the context:
/// no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_set_location(
    context: Option<&mut ConvertContext>,
    items: *const ConvertAttribute,
    count: usize,
) -> ConvertStatus {
    answer(|| {
        need(context, "context")?.0.set_location(attributes(items, count)?);
        Ok(())
    })
}

/// Sets segments for this context and the visitor's later ones; only report keys are kept. Changes the context:
/// no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_set_segments(
    context: Option<&mut ConvertContext>,
    items: *const ConvertAttribute,
    count: usize,
) -> ConvertStatus {
    answer(|| {
        need(context, "context")?.0.set_segments(attributes(items, count)?);
        Ok(())
    })
}

/// Records the custom segments with these keys that the visitor belongs to; the attributes are merged over
/// the visitor's for this call only. `matched`, which may be null, receives the ids that were newly recorded;
/// free it with `convert_texts_free`. Changes the context: no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_run_custom_segments(
    context: Option<&mut ConvertContext>,
    keys: *const ConvertText,
    key_count: usize,
    items: *const ConvertAttribute,
    count: usize,
    matched: Given<'_, ConvertTexts>,
) -> ConvertStatus {
    answer(|| {
        let run = || {
            let keys: Answer<Vec<&str>> =
                list_or_empty(keys, key_count, "keys")?.iter().map(|key| key.need("a key")).collect();
            let rule_data = attributes(items, count)?;
            let result = need(context, "context")?.0.run_custom_segments_with(&keys?, rule_data);
            Ok(ConvertTexts(result.matched_segment_ids().map(Box::from).collect()))
        };
        if matched.is_none() { run().map(drop) } else { give(matched, "matched", run) }
    })
}

/// The number of texts. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_texts_count(texts: Option<&ConvertTexts>) -> usize {
    texts.map_or(0, |texts| texts.0.len())
}

/// The text at an index from 0; valid as long as the list. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_texts_at(texts: Option<&ConvertTexts>, index: usize) -> ConvertText {
    ConvertText::of_optional(texts.and_then(|texts| texts.0.get(index)).map(|text| &**text))
}

/// Frees the list; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_texts_free(texts: Option<Box<ConvertTexts>>) {
    drop(texts);
}

/// Forces one variation of one experience, given by their ids, in this context; nothing is stored or recorded
/// meanwhile. An experience that is not in the config is fetched, waiting up to 10 s; on a core with a pump the
/// call returns `CONVERT_STATUS_WOULD_BLOCK` instead, and is to be repeated once the request that it caused has
/// been answered. On failure, any earlier preview is off. Changes the context: no other thread may be in a call
/// with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_set_preview(
    context: Option<&mut ConvertContext>,
    experience_id: ConvertText,
    variation_id: ConvertText,
) -> ConvertStatus {
    answer(|| {
        let context = need(context, "context")?;
        let ids = [(experience_id, "experience_id"), (variation_id, "variation_id")];
        // Before the preview goes, which may be what they point into.
        let [experience, variation] = ids.map(|(id, name)| id.need(name).map(Box::<str>::from));
        context.0.clear_preview();
        Ok(context.0.set_preview(&experience?, &variation?)?)
    })
}

/// Like `convert_context_set_preview`, with the value of a preview parameter, such as `100218245.1002185190`;
/// `CONVERT_STATUS_PREVIEW_MALFORMED` if it is not one. Changes the context: no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_set_preview_param(
    context: Option<&mut ConvertContext>,
    param: ConvertText,
) -> ConvertStatus {
    answer(|| {
        let context = need(context, "context")?;
        let malformed = || Fault::new(ConvertStatus::PreviewMalformed, "not two ids with a dot between");
        let param = param.need("param").and_then(|param| parse_preview_param(param).ok_or_else(malformed));
        context.0.clear_preview();
        let param = param?;
        Ok(context.0.set_preview(&param.experience_id, &param.variation_id)?)
    })
}

/// Turns the preview off. Changes the context: no other thread may be in a call with it.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_clear_preview(context: Option<&mut ConvertContext>) -> ConvertStatus {
    answer(|| {
        need(context, "context")?.0.clear_preview();
        Ok(())
    })
}

/// Whether a preview is on. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_context_is_preview(context: Option<&ConvertContext>) -> bool {
    value(false, || Ok(need(context, "context")?.0.is_preview()))
}
