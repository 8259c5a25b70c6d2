//! Turns an evaluation context into a visitor.

use std::any::Any;

use convert_sdk::{AttributeValue, Attributes};
use open_feature::{
    EvaluationContext, EvaluationContextFieldValue as Field, EvaluationError, EvaluationErrorCode,
    StructValue,
};
use serde_json::Value as Json;

use crate::details::error;
use crate::value;

/// The visitor that a context describes.
pub(crate) struct Visitor<'a> {
    pub(crate) id: &'a str,
    pub(crate) attributes: Attributes,
    pub(crate) location: Option<Attributes>,
    pub(crate) segments: Option<Attributes>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn of(context: &'a EvaluationContext) -> Result<Self, EvaluationError> {
        let id = context.targeting_key.as_deref().filter(|key| !key.is_empty()).ok_or_else(|| {
            error(EvaluationErrorCode::TargetingKeyMissing, "the targeting key is the visitor's id")
        })?;
        let (mut location, mut segments) = (None, None);
        let mut attributes = Attributes::with_capacity(context.custom_fields.len());
        for (name, field) in &context.custom_fields {
            match (name.as_str(), attribute(name, field)?) {
                ("location", AttributeValue::Object(fields)) => location = Some(fields),
                ("segments", AttributeValue::Object(fields)) => segments = Some(fields),
                (name, value) => drop(attributes.insert(name, value)),
            }
        }
        Ok(Self { id, attributes, location, segments })
    }
}

fn attribute(name: &str, field: &Field) -> Result<AttributeValue, EvaluationError> {
    Ok(match field {
        Field::Bool(flag) => (*flag).into(),
        Field::Int(number) => (*number).into(),
        Field::Float(number) => (*number).into(),
        Field::String(text) => text.into(),
        // As JavaScript converts a date to a number.
        Field::DateTime(time) => ((time.unix_timestamp_nanos() / 1_000_000) as f64).into(),
        Field::Struct(structure) => fields(structure.as_ref())
            .ok_or_else(|| {
                let message = format!("the structure {name:?} is no StructValue, Attributes or JSON object");
                error(EvaluationErrorCode::InvalidContext, message)
            })?
            .into(),
    })
}

/// The fields of a structure, which the crate passes as `Any`.
fn fields(structure: &(dyn Any + Send + Sync)) -> Option<Attributes> {
    if let Some(structure) = structure.downcast_ref::<StructValue>() {
        return Some(value::attributes(structure));
    }
    if let Some(attributes) = structure.downcast_ref::<Attributes>() {
        return Some(attributes.clone());
    }
    match structure.downcast_ref::<Json>()? {
        Json::Object(fields) => Some(fields.clone().into()),
        _ => None,
    }
}
