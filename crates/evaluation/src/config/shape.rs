//! Deserializers that accept any JSON type and remember what came in place of the expected one.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;

use ryu_js::Buffer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use smol_str::SmolStr;

use crate::attributes::{AttributeValue, Attributes};
use crate::js::text::{array_index, text, truthy};

/// Any JSON value, or none: JavaScript distinguishes a missing field from a `null`.
#[derive(Default)]
pub(super) struct ValueWire(pub(super) Option<AttributeValue>);

/// A list, or what came instead.
#[derive(Default)]
pub(super) enum ListWire<T> {
    #[default]
    Absent,
    Items(Vec<T>),
    /// Something that JavaScript does not treat as a list: a falsy value or an empty object.
    Blank,
    NotAList,
}

/// The items of a list, or the values of an object in JavaScript's property order.
#[derive(Default)]
pub(super) struct ItemsWire<T>(pub(super) Vec<T>);

/// An object; `None` for a missing field and for any other JSON type.
pub(super) struct ObjectWire<T>(pub(super) Option<T>);

/// The entries of an object; the last of a repeated key wins.
#[derive(Default)]
pub(super) struct PairsWire(pub(super) Option<BTreeMap<SmolStr, Value>>);

impl<T> Default for ObjectWire<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl ValueWire {
    /// Whether the value was served as a string.
    pub(super) const fn is_text(&self) -> bool {
        matches!(&self.0, Some(AttributeValue::String(_)))
    }

    /// Whether the value is truthy in JavaScript; a missing field is not.
    pub(super) fn is_truthy(&self) -> bool {
        self.0.as_ref().is_some_and(truthy)
    }

    /// The value as a JavaScript string, unless the field is missing.
    pub(super) fn text(&self) -> Option<SmolStr> {
        match &self.0 {
            Some(AttributeValue::String(text)) => Some(text.clone()),
            Some(value) => Some(text(value, &mut Buffer::new()).into()),
            None => None,
        }
    }

    /// The value as a string, unless it is `null` or missing.
    pub(super) fn non_null_text(&self) -> Option<SmolStr> {
        self.text().filter(|_| !matches!(self.0, Some(AttributeValue::Null)))
    }

    /// The value as a JavaScript string; a missing field becomes `undefined`.
    pub(super) fn text_or_undefined(&self) -> SmolStr {
        self.text().unwrap_or(const { SmolStr::new_static("undefined") })
    }
}

impl<T> ListWire<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Items(items) => items,
            Self::Absent | Self::Blank | Self::NotAList => Vec::new(),
        }
    }
}

/// The JSON type that a reader accepts; any other is skipped and becomes `other`.
pub(super) trait Shape<'de>: Sized {
    fn scalar(value: AttributeValue) -> Self;

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(AttributeValue::Array(Vec::new())))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(AttributeValue::Object(Attributes::new())))
    }
}

pub(super) struct ShapeVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for ShapeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::scalar(AttributeValue::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::object(entries)
    }
}

macro_rules! read_shape {
    ($([$($generics:tt)*] $name:ty),+ $(,)?) => {$(
        impl<'de, $($generics)*> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ShapeVisitor(PhantomData))
            }
        }
    )+};
}
read_shape!(
    [] ValueWire,
    [] PairsWire,
    [T: Deserialize<'de>] ListWire<T>,
    [T: Deserialize<'de>] ItemsWire<T>,
    [T: Deserialize<'de>] ObjectWire<T>,
);

impl<'de> Shape<'de> for ValueWire {
    fn scalar(value: AttributeValue) -> Self {
        Self(Some(value))
    }

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut values = Vec::new();
        while let Some(Self(value)) = items.next_element()? {
            values.extend(value);
        }
        Ok(Self(Some(AttributeValue::Array(values))))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        let mut map = Attributes::new();
        while let Some((name, Self(value))) = entries.next_entry::<SmolStr, Self>()? {
            if let Some(value) = value {
                map.insert(name, value);
            }
        }
        Ok(Self(Some(AttributeValue::Object(map))))
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for ListWire<T> {
    fn scalar(value: AttributeValue) -> Self {
        match value {
            AttributeValue::Null => Self::Absent,
            value if truthy(&value) => Self::NotAList,
            _ => Self::Blank,
        }
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        let mut list = Self::Blank;
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            list = Self::NotAList;
        }
        Ok(list)
    }

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            read.push(item);
        }
        Ok(Self::Items(read))
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for ItemsWire<T> {
    fn scalar(_: AttributeValue) -> Self {
        Self(Vec::new())
    }

    fn list<A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error> {
        <ListWire<T> as Shape<'de>>::list(items).map(|items| Self(items.into_vec()))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        // A repeated name keeps its place and takes the last value.
        let (mut places, mut values) = (HashMap::new(), Vec::new());
        while let Some((name, value)) = entries.next_entry::<SmolStr, T>()? {
            match places.entry(name) {
                Entry::Vacant(place) => {
                    values.push((array_index(place.key()), value));
                    place.insert(values.len() - 1);
                }
                Entry::Occupied(place) => values[*place.get()].1 = value,
            }
        }
        values.sort_by_key(|(index, _)| (index.is_none(), *index));
        Ok(Self(values.into_iter().map(|(_, value)| value).collect()))
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for ObjectWire<T> {
    fn scalar(_: AttributeValue) -> Self {
        Self(None)
    }

    fn object<A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(|object| Self(Some(object)))
    }
}

impl<'de> Shape<'de> for PairsWire {
    fn scalar(_: AttributeValue) -> Self {
        Self(None)
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry()? {
            pairs.insert(name, value);
        }
        Ok(Self(Some(pairs)))
    }
}
