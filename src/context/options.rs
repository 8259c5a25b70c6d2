//! The options of one evaluation call.

use std::collections::HashSet;

use crate::attributes::Attributes;
use crate::config::Experience;

/// Options of one evaluation call. The default changes nothing.
///
/// ```
/// use convert_sdk::{RunOptions, attributes};
///
/// let quietly = RunOptions::new()
///     .attributes(attributes! { "cart_value" => 120 })
///     .enable_tracking(false)
///     .enable_storage(false);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RunOptions {
    pub(super) attributes: Attributes,
    pub(super) location: Attributes,
    pub(super) enable_tracking: bool,
    pub(super) enable_storage: bool,
    pub(super) type_casting: bool,
    pub(super) environment: Option<Box<str>>,
    pub(super) experience_keys: Vec<Box<str>>,
    pub(super) force_variation_id: Option<Box<str>>,
    pub(super) explain_values: bool,
    pub(super) explain_afresh: bool,
}

impl RunOptions {
    /// Changes nothing.
    pub const fn new() -> Self {
        Self {
            attributes: Attributes::new(),
            location: Attributes::new(),
            enable_tracking: true,
            enable_storage: true,
            type_casting: true,
            environment: None,
            experience_keys: Vec::new(),
            force_variation_id: None,
            explain_values: false,
            explain_afresh: false,
        }
    }

    /// Merged over the context's attributes for this call: objects by key, lists as a union, anything else replaced.
    pub fn attributes(mut self, attributes: impl Into<Attributes>) -> Self {
        self.attributes = attributes.into();
        self
    }

    /// Merged over the context's location attributes for this call, replacing equal names.
    pub fn location(mut self, location: impl Into<Attributes>) -> Self {
        self.location = location.into();
        self
    }

    /// Whether the exposure is recorded. Default true.
    pub const fn enable_tracking(mut self, on: bool) -> Self {
        self.enable_tracking = on;
        self
    }

    /// Whether a new decision is remembered. Default true.
    pub const fn enable_storage(mut self, on: bool) -> Self {
        self.enable_storage = on;
        self
    }

    /// Whether feature variables are converted to their declared types. Default true.
    pub const fn type_casting(mut self, on: bool) -> Self {
        self.type_casting = on;
        self
    }

    /// The environment for this call, instead of the configured one. It can only select among the experiences in the
    /// config: one fetched with a configured environment has no experiences of any other.
    pub fn environment(mut self, environment: impl Into<Box<str>>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Limits a feature call to these experiences, which it searches in config order; empty means all. Unknown keys
    /// are skipped; if none is known, no feature is found.
    pub fn experience_keys<K: Into<Box<str>>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.experience_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Forces this variation, whatever its status or traffic, for a visitor who passes every check of the experience;
    /// ignored if the experience does not have it (the JavaScript SDK's `forceVariationId`).
    pub fn force_variation_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.force_variation_id = Some(id.into());
        self
    }

    /// Whether explanations of [`diagnose_experience_with`](crate::Context::diagnose_experience_with) and
    /// [`diagnose_feature_with`](crate::Context::diagnose_feature_with) show the visitor's own values, in
    /// [`ItemTrace::attribute`](crate::diagnosis::ItemTrace::attribute); they then appear in `Debug` and JSON too.
    /// Default false: only their types are shown.
    pub const fn explain_values(mut self, show: bool) -> Self {
        self.explain_values = show;
        self
    }

    /// Whether [`diagnose_experience_with`](crate::Context::diagnose_experience_with) and
    /// [`diagnose_feature_with`](crate::Context::diagnose_feature_with) pass over what was decided for the visitor
    /// before. After `run_experience` a diagnosis otherwise says that the decision is remembered, and nothing of the
    /// checks and the bucket that led to it. Default false.
    pub const fn explain_afresh(mut self, on: bool) -> Self {
        self.explain_afresh = on;
        self
    }

    /// The experiences that a feature call looks at.
    pub(super) fn asked(&self) -> Asked<'_> {
        let keys = &self.experience_keys;
        let is_many = keys.len() > FEW;
        Asked { keys, many: is_many.then(|| keys.iter().map(|key| &**key).collect()) }
    }
}

/// Up to this many keys are searched linearly for each experience.
const FEW: usize = 8;

/// The experiences that a feature call looks at.
pub(super) struct Asked<'a> {
    keys: &'a [Box<str>],
    many: Option<HashSet<&'a str>>,
}

impl Asked<'_> {
    pub(super) fn includes(&self, experience: &Experience) -> bool {
        let key = experience.key.as_str();
        let named = || match &self.many {
            Some(many) => many.contains(key),
            None => self.keys.iter().any(|asked| **asked == *key),
        };
        self.keys.is_empty() || experience.has_text_key && named()
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::new()
    }
}
