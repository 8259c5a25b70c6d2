//! The position of a check within a JSON document, and typed access to the value there.

use std::fmt;

use serde_json::{Map, Value};

/// A position in a document, written as `visitors[0].events[2].data.goalId`.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

/// An invalid field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongField {
    pub(crate) path: String,
    pub(crate) error: String,
}

impl<'a> At<'a> {
    /// The document itself.
    pub(crate) const ROOT: At<'static> = At { parent: None, step: Step::Root };

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(crate) fn wrong(&self, error: impl Into<String>) -> WrongField {
        WrongField { path: self.to_string(), error: error.into() }
    }

    /// The object here, which must have no fields other than `known`.
    pub(crate) fn object<'v>(
        &self,
        value: &'v Value,
        known: &[&str],
    ) -> Result<&'v Map<String, Value>, WrongField> {
        let object = self.any_object(value)?;
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.key(key).wrong("unknown field")),
            None => Ok(object),
        }
    }

    pub(crate) fn any_object<'v>(&self, value: &'v Value) -> Result<&'v Map<String, Value>, WrongField> {
        value.as_object().ok_or_else(|| self.wrong("must be an object"))
    }

    pub(crate) fn list<'v>(&self, value: &'v Value) -> Result<&'v [Value], WrongField> {
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong("must be a list"))
    }

    pub(crate) fn full_list<'v>(&self, value: &'v Value) -> Result<&'v [Value], WrongField> {
        let list = self.list(value)?;
        if list.is_empty() { Err(self.wrong("must not be empty")) } else { Ok(list) }
    }

    pub(crate) fn text<'v>(&self, value: &'v Value) -> Result<&'v str, WrongField> {
        value.as_str().ok_or_else(|| self.wrong("must be a string"))
    }

    /// The value of a required field.
    pub(crate) fn field<'v>(
        &self,
        object: &'v Map<String, Value>,
        key: &str,
    ) -> Result<&'v Value, WrongField> {
        object.get(key).ok_or_else(|| self.key(key).wrong("missing"))
    }

    /// A required field that must be a string.
    pub(crate) fn text_field<'v>(
        &self,
        object: &'v Map<String, Value>,
        key: &str,
    ) -> Result<&'v str, WrongField> {
        self.key(key).text(self.field(object, key)?)
    }
}

impl fmt::Display for WrongField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(formatter, "{}{colon}{}", self.path, self.error)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
            if matches!((parent.step, self.step), (Step::Key(_) | Step::Index(_), Step::Key(_))) {
                formatter.write_str(".")?;
            }
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) => formatter.write_str(key),
            Step::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}
