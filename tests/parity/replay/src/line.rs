//! The lines of a parity file that contain whole requests, and scripts.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::Object;

/// The fields of every line.
#[derive(Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) config_ref: Option<Cow<'a, str>>,
}

/// A config, to which later requests refer.
#[derive(Deserialize)]
pub(crate) struct ConfigLine<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(default)]
    pub(crate) options: Options,
    /// As served; the SDK parses the text itself.
    #[serde(borrow)]
    pub(crate) config: &'a RawValue,
}

/// The options of the SDK instance.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    pub(crate) environment: Option<String>,
    pub(crate) exclude_experience_id_hash: bool,
    pub(crate) hash_seed: Option<u32>,
    pub(crate) max_traffic: Option<NonZeroU32>,
}

/// A request and its answers.
#[derive(Deserialize)]
pub(crate) struct RequestLine<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) config_ref: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) request: Request<'a>,
    pub(crate) expected: Object,
    #[serde(default)]
    pub(crate) recommended: Object,
}

/// The question. An unknown field would be an input that the SDK is not given, so it is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request<'a> {
    #[serde(borrow)]
    pub(crate) visitor_id: Cow<'a, str>,
    #[serde(default)]
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) attributes: Option<Object>,
    #[serde(default)]
    pub(crate) default_segments: Option<Object>,
    #[serde(default)]
    pub(crate) custom_segments: Option<CustomSegments>,
    #[serde(default)]
    pub(crate) call_attributes: Option<Object>,
    #[serde(default)]
    pub(crate) location: Option<Object>,
    #[serde(default, rename = "experience_keys")]
    _experience_keys: serde::de::IgnoredAny,
    #[serde(default, rename = "feature_keys")]
    _feature_keys: serde::de::IgnoredAny,
    #[serde(default)]
    pub(crate) feature_experience_keys: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) type_casting: Option<bool>,
    #[serde(default)]
    pub(crate) conversions: Vec<ConversionCall>,
    #[serde(default)]
    pub(crate) preview: Option<PreviewCall>,
}

/// The visitor's stored state beforehand.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct State {
    pub(crate) bucketing: Object,
    /// Keys, not ids.
    pub(crate) goals: Vec<String>,
    pub(crate) custom_segments: Option<Vec<Value>>,
    pub(crate) segments: Object,
}

/// A sequence of calls on one context, and its answers.
#[derive(Deserialize)]
pub(crate) struct ScriptLine<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) config_ref: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) script: Script<'a>,
    pub(crate) expected: ScriptAnswers,
}

/// A script's context and calls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script<'a> {
    #[serde(borrow)]
    pub(crate) visitor_id: Cow<'a, str>,
    #[serde(default)]
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) attributes: Option<Object>,
    #[serde(default)]
    pub(crate) default_segments: Option<Object>,
    pub(crate) ops: Vec<Operation>,
}

/// One call of a script.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Operation {
    Run(RunCall),
    RunAll(RunCall),
    Feature(RunCall),
    Features(RunCall),
    Custom(CustomSegments),
    Segments { segments: Object },
    Convert(ConversionCall),
}

/// An evaluating call of a script.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunCall {
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) call_attributes: Option<Object>,
    #[serde(default)]
    pub(crate) location: Option<Object>,
    #[serde(default)]
    pub(crate) force: Option<String>,
    #[serde(default)]
    pub(crate) experience_keys: Vec<String>,
}

/// One answer per call up to the first that throws, and what was sent for all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptAnswers {
    pub(crate) answers: Vec<Value>,
    #[serde(default)]
    pub(crate) visitors: Option<Vec<Value>>,
}

/// A call that records custom segments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomSegments {
    pub(crate) keys: Vec<String>,
    #[serde(default)]
    pub(crate) rule_data: Option<Object>,
}

/// A call that records a conversion.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversionCall {
    pub(crate) goal_key: String,
    #[serde(default)]
    pub(crate) rule_data: Option<Object>,
    #[serde(default)]
    pub(crate) goal_data: Option<Vec<GoalDatum>>,
    #[serde(default)]
    pub(crate) force_multiple: bool,
}

/// One entry of a conversion's data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoalDatum {
    pub(crate) key: String,
    pub(crate) value: Value,
}

/// The variation to preview.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewCall {
    pub(crate) experience_id: String,
    pub(crate) variation_id: String,
}
