//! Spans around what talks to the outside; nothing without the feature `tracing`.

/// Ends the span with its scope.
#[must_use]
pub(crate) struct Entered {
    #[cfg(feature = "tracing")]
    _span: Option<tracing::span::EnteredSpan>,
}

/// Around one delivery.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "there is no span to show them"))]
pub(crate) fn delivery_span(records: usize, events: usize, bytes: usize, retries: u32) -> Entered {
    entered!("convert.delivery", records, events, bytes, retries)
}

/// Around one fetch: of the config, or of an experience for a preview.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "there is no span to show them"))]
pub(crate) fn fetch_span(what: &'static str, is_conditional: bool) -> Entered {
    entered!("convert.fetch", what, is_conditional)
}

/// None where nobody subscribes: the feature `log` of `tracing` would tell it to a logger. A subscriber that panics
/// leaves no span.
macro_rules! entered {
    ($name:literal, $($field:ident),+) => {{
        #[cfg(feature = "tracing")]
        {
            let mut _span = None;
            crate::caught::quietly(|| {
                if crate::telemetry::is_traced() {
                    _span = Some(tracing::info_span!(target: "convert_sdk", $name, $($field),+).entered());
                }
            });
            Entered { _span }
        }
        #[cfg(not(feature = "tracing"))]
        Entered {}
    }};
}
use entered;
