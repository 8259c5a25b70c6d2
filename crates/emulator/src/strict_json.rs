//! Strict JSON: no object has a duplicate name, which readers resolve differently.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::at::{At, WrongField};

/// One value at its position in the document.
struct Strict<'a> {
    at: At<'a>,
    /// Where a name was duplicated; the parser's error cannot carry a position.
    doubled: &'a RefCell<Option<WrongField>>,
}

/// The whole document, or what is wrong with it.
pub(crate) fn parse_strictly(text: &[u8]) -> Result<Value, WrongField> {
    let doubled = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_slice(text);
    let parsed = Strict { at: At::ROOT, doubled: &doubled }.deserialize(&mut parser);
    let parsed = parsed.and_then(|value| parser.end().map(|()| value));
    parsed.map_err(|error| doubled.take().unwrap_or_else(|| At::ROOT.wrong(format!("not JSON: {error}"))))
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) =
            items.next_element_seed(Strict { at: self.at.index(list.len()), doubled: self.doubled })?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let at = self.at.key(&name);
            if object.contains_key(&name) {
                self.doubled.replace(Some(at.wrong("is duplicated")));
                return Err(A::Error::custom("duplicate name"));
            }
            let value = fields.next_value_seed(Strict { at, doubled: self.doubled })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
