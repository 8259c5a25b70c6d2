//! Attributes: names with typed values.

use convert_sdk::{AttributeValue, Attributes};

use crate::border::list_or_empty;
use crate::status::{Answer, Fault};
use crate::text::ConvertText;

/// The type of an attribute or of a variable.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertKind {
    /// JSON's null.
    Null = 0,
    /// `boolean`, 0 or another number.
    Boolean = 1,
    /// `number`.
    Number = 2,
    /// `text`.
    Text = 3,
    /// `count` values in `items`; their names are ignored.
    List = 4,
    /// `count` named values in `items`.
    Object = 5,
}

/// A name and a value. A list of them is only read during the call that it is passed to. The last value of a
/// duplicate name counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertAttribute {
    /// The name; case-sensitive.
    pub name: ConvertText,
    /// Which of the following fields is used: a `ConvertKind`.
    pub kind: u32,
    /// The value of a boolean: true if not 0.
    pub boolean: u32,
    /// The value of a number.
    pub number: f64,
    /// The value of a text.
    pub text: ConvertText,
    /// The values of a list or an object, up to 32 levels deep.
    pub items: *const ConvertAttribute,
    /// The number of items.
    pub count: usize,
}

/// Anything nested deeper is refused, which also stops at values that contain themselves.
const DEEPEST: u32 = 32;

pub(crate) fn attributes(items: *const ConvertAttribute, count: usize) -> Answer<Attributes> {
    object(items, count, DEEPEST)
}

fn object(items: *const ConvertAttribute, count: usize, levels: u32) -> Answer<Attributes> {
    let items = list_or_empty(items, count, "a list of attributes")?;
    let mut attributes = Attributes::with_capacity(items.len());
    for item in items {
        attributes.insert(item.name.need("the name of an attribute")?, value(item, levels)?);
    }
    Ok(attributes)
}

fn value(item: &ConvertAttribute, levels: u32) -> Answer<AttributeValue> {
    let deeper = || levels.checked_sub(1).ok_or_else(|| Fault::argument("attributes are nested too deep"));
    Ok(match item.kind {
        kind if kind == ConvertKind::Null as u32 => AttributeValue::Null,
        kind if kind == ConvertKind::Boolean as u32 => AttributeValue::Bool(item.boolean != 0),
        kind if kind == ConvertKind::Number as u32 => AttributeValue::Number(item.number),
        kind if kind == ConvertKind::Text as u32 => item.text.need("the text of an attribute")?.into(),
        kind if kind == ConvertKind::List as u32 => {
            let (items, levels) = (list_or_empty(item.items, item.count, "a list of values")?, deeper()?);
            let values: Answer<Vec<_>> = items.iter().map(|item| value(item, levels)).collect();
            AttributeValue::Array(values?)
        }
        kind if kind == ConvertKind::Object as u32 => {
            AttributeValue::Object(object(item.items, item.count, deeper()?)?)
        }
        _ => return Err(Fault::argument("an attribute's kind is none of ConvertKind")),
    })
}
