//! What the SDK tells operators: lines through `log` or `tracing`, spans, and times. Loggers, subscribers and recorders
//! are foreign code: one that prints to a closed pipe panics.

mod limit;
mod spans;
mod times;

use std::fmt;

pub(crate) use limit::Limit;
pub(crate) use spans::{delivery_span, fetch_span};
pub(crate) use times::{Timer, WAIT};

/// Whether the platform has a clock; a browser's is the application's to give.
const HAS_CLOCK: bool = !cfg!(all(target_family = "wasm", target_os = "unknown"));

/// Logs at a level of the `log` crate, or as an event of `tracing` where that feature is on and someone subscribes.
/// With `limited`, one line a minute for each place in the code; the next one says how many were left out. Values in
/// braces become fields.
macro_rules! logged {
    ($level:ident, limited, $($message:tt)+) => {{
        static LIMIT: $crate::telemetry::Limit = $crate::telemetry::Limit::new();
        if let Some(left_out) = LIMIT.take() {
            logged!($level, "{}{left_out}", format_args!($($message)+));
        }
    }};
    ($level:ident, { $($name:ident = $value:expr),+ $(,)? }, $message:literal) => {
        $crate::caught::quietly(|| {
            #[cfg(feature = "tracing")]
            if $crate::telemetry::is_traced() {
                tracing::$level!(target: "convert_sdk", $($name = $value),+, $message);
                return;
            }
            let fields: &[(&str, &dyn ::std::fmt::Debug)] = &[$((stringify!($name), &$value)),+];
            log::$level!(target: "convert_sdk", "{}", $crate::telemetry::Line($message, fields));
        })
    };
    ($level:ident, $($message:tt)+) => {
        $crate::caught::quietly(|| {
            #[cfg(feature = "tracing")]
            if $crate::telemetry::is_traced() {
                tracing::$level!(target: "convert_sdk", $($message)+);
                return;
            }
            log::$level!(target: "convert_sdk", $($message)+);
        })
    };
}

/// A message and its fields, as one line of text.
pub(crate) struct Line<'a>(pub(crate) &'a str, pub(crate) &'a [(&'a str, &'a dyn fmt::Debug)]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        self.1.iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
    }
}

/// Whether events reach a subscriber of `tracing`. If not, `log` has them: no line is told twice or to nobody.
#[cfg(feature = "tracing")]
pub(crate) fn is_traced() -> bool {
    tracing::dispatcher::get_default(|it| !it.is::<tracing::subscriber::NoSubscriber>())
}
