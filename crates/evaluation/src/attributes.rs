//! Visitor and location attributes: maps of JSON values that are never printed.

mod entries;
mod merge;
mod value;

use std::cmp::Ordering;
use std::fmt;
use std::mem::{self, ManuallyDrop};

use smol_str::SmolStr;

pub(crate) use self::entries::Hint;
use self::entries::{Entries, room};
use self::merge::LONGEST_LIST;
pub use self::value::AttributeValue;
use self::value::long_text;
pub(crate) use self::value::number_to_json;

/// A map from attribute name to value, sorted by name. Names are case-sensitive; setting a name
/// again replaces its value.
///
/// ```
/// # use convert_evaluation::{Attributes, attributes};
/// let inline = attributes! { "plan" => "pro", "age" => 31, "tags" => ["a", "b"] };
/// let stepwise = Attributes::new().with("age", 31).with("tags", ["a", "b"]).with("plan", "pro");
/// assert_eq!(inline, stepwise);
/// assert_eq!(format!("{inline:?}"), "Attributes(3 entries)");
/// ```
#[derive(Clone)]
pub struct Attributes {
    // Dropped by `release` only, so that the drop of an empty map is one comparison.
    entries: ManuallyDrop<Entries>,
}

/// Builds [`Attributes`] from `name => value` pairs. A name is a string, and a literal is not
/// copied; a value is anything that converts into [`AttributeValue`].
///
/// ```
/// # use convert_evaluation::attributes;
/// let location = attributes! { "url" => "https://example.com/", "depth" => 2 };
/// assert_eq!(location.len(), 2);
/// let name = format!("{}_code", "country");
/// let visitor = attributes! { "age" => 30, name => "GR" };
/// assert!(visitor.get("country_code").is_some());
/// ```
#[macro_export]
macro_rules! attributes {
    () => { $crate::Attributes::new() };
    // Literal names are not copied.
    ($($name:literal => $value:expr),+ $(,)?) => {
        $crate::Attributes::of_literals(
            &[$($name),+],
            const { $crate::Attributes::order_of(&[$($name),+]) },
            [$(::core::convert::Into::<$crate::AttributeValue>::into($value)),+],
        )
    };
    ($($name:expr => $value:expr),+ $(,)?) => {
        $crate::Attributes::with_capacity(const { [$(stringify!($name)),+].len() })$(.with($name, $value))+
    };
}

impl Attributes {
    /// An empty map; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(Entries::new())
    }

    const fn of(entries: Entries) -> Self {
        Self { entries: ManuallyDrop::new(entries) }
    }

    /// An empty map with room for `entries` entries.
    #[must_use]
    #[inline]
    pub fn with_capacity(entries: usize) -> Self {
        Self::of(Entries::with_capacity(entries))
    }

    /// For [`attributes!`]: the places of the names in sorted order, computed at compile time. `None` if a
    /// name is repeated.
    #[doc(hidden)]
    #[must_use]
    pub const fn order_of<const N: usize>(names: &[&str; N]) -> Option<[usize; N]> {
        let (mut order, mut at) = ([0; N], 0);
        while at < N {
            let (mut place, mut other) = (0, 0);
            while other < N {
                match compare(names[other].as_bytes(), names[at].as_bytes()) {
                    Ordering::Less => place += 1,
                    Ordering::Equal if other != at => return None,
                    _ => {}
                }
                other += 1;
            }
            order[place] = at;
            at += 1;
        }
        Some(order)
    }

    /// For [`attributes!`].
    #[doc(hidden)]
    #[must_use]
    #[inline(always)]
    pub fn of_literals<const N: usize>(
        names: &'static [&'static str; N],
        order: Option<[usize; N]>,
        mut values: [AttributeValue; N],
    ) -> Self {
        let Some(order) = order else {
            return names.iter().copied().zip(values).collect();
        };
        let mut row = room(N);
        row.extend(
            order.into_iter().map(|at| {
                (SmolStr::new_static(names[at]), mem::replace(&mut values[at], AttributeValue::Null))
            }),
        );
        // Nothing is left in it to drop.
        mem::forget(values);
        Self::of(Entries::Row(row))
    }

    /// This map with one more entry.
    #[must_use]
    #[inline]
    pub fn with(mut self, name: impl Into<SmolStr>, value: impl Into<AttributeValue>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets one entry and returns the value it replaced.
    #[inline]
    pub fn insert(
        &mut self,
        name: impl Into<SmolStr>,
        value: impl Into<AttributeValue>,
    ) -> Option<AttributeValue> {
        self.entries.insert(name.into(), value.into())
    }

    /// Removes one entry and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        self.entries.remove(name)
    }

    /// The value of `name`, exactly as it was set.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.entries.get(name)
    }

    /// Like [`get`](Self::get), with a hint where the name is.
    #[inline]
    pub(crate) fn get_by(&self, name: &str, hint: &Hint) -> Option<&AttributeValue> {
        self.entries.get_by(name, hint)
    }

    /// The number of entries.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the map is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The entries, sorted by name.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &AttributeValue)> {
        self.entries.iter()
    }
}

/// What an engine does with a visitor's [`Attributes`]. Kept off the type, so that a crate that re-exports
/// the type does not promise these methods.
pub trait AttributesExt {
    /// The longest list that [`merge`](Self::merge) makes, in values.
    const LONGEST_LIST: usize = LONGEST_LIST;

    /// The JavaScript SDK's deep merge, in which `later` wins: objects merge by key; arrays are
    /// concatenated with the later one first and duplicates dropped; an array merged with an object
    /// counts as an object keyed by index; anything else is replaced. A concatenated array keeps
    /// its first `longest` values; returns how many are dropped.
    fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize;

    /// [`merge_up_to`](Self::merge_up_to) with [`LONGEST_LIST`](Self::LONGEST_LIST).
    fn merge(&mut self, later: &Self) {
        self.merge_up_to(Self::LONGEST_LIST, later);
    }

    /// Whether `wanted` holds for any entry.
    fn any(&self, wanted: impl FnMut(&str, &AttributeValue) -> bool) -> bool;

    /// Keeps the entries that are wanted; the value of one that is not may be taken out.
    fn retain(&mut self, wanted: impl FnMut(&SmolStr, &mut AttributeValue) -> bool);

    /// Whether the entry at this position has this name and is this text; `false` for a large map, which has no
    /// positions.
    fn has_text_at(&self, at: usize, name: &str, text: &SmolStr) -> bool;

    /// Gives back the room for further entries.
    fn shrink_to_fit(&mut self);

    /// Roughly how many bytes the map takes on the heap.
    fn heap_bytes(&self) -> usize;
}

impl AttributesExt for Attributes {
    fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize {
        let mut left_out = 0;
        for (name, value) in later.iter() {
            match self.entries.get_mut(name) {
                Some(mine) => left_out += mine.merge_up_to(longest, value),
                None => drop(self.insert(name, value.clone())),
            }
        }
        left_out
    }

    #[inline]
    fn any(&self, wanted: impl FnMut(&str, &AttributeValue) -> bool) -> bool {
        self.entries.any(wanted)
    }

    #[inline]
    fn retain(&mut self, wanted: impl FnMut(&SmolStr, &mut AttributeValue) -> bool) {
        self.entries.retain(wanted);
    }

    #[inline(always)]
    fn has_text_at(&self, at: usize, name: &str, text: &SmolStr) -> bool {
        self.entries.has_text_at(at, name, text)
    }

    fn shrink_to_fit(&mut self) {
        if let Entries::Row(row) = &mut *self.entries {
            row.shrink_to_fit();
        }
    }

    fn heap_bytes(&self) -> usize {
        let entries = self.iter().map(|(name, value)| long_text(name.len()) + value.heap_bytes());
        self.entries.row_bytes() + entries.sum::<usize>()
    }
}

/// Compares two strings, also at compile time.
const fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return if left[at] < right[at] { Ordering::Less } else { Ordering::Greater };
        }
        at += 1;
    }
    match (at < left.len(), at < right.len()) {
        (false, true) => Ordering::Less,
        (true, false) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

impl Drop for Attributes {
    #[inline]
    fn drop(&mut self) {
        if !self.entries.is_unallocated() {
            self.entries.release();
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.entries, &*other.entries) {
            (Entries::Row(mine), Entries::Row(theirs)) => mine == theirs,
            _ => self.iter().eq(other.iter()),
        }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({} entries)", self.entries.len())
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::new();
        map.extend(pairs);
        map
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>> Extend<(K, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>, const N: usize> From<[(K, V); N]> for Attributes {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

/// No attributes, so that a call can pass `()`.
impl From<()> for Attributes {
    fn from((): ()) -> Self {
        Self::new()
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for Attributes {
    fn from(map: serde_json::Map<String, serde_json::Value>) -> Self {
        map.into_iter().collect()
    }
}

impl From<&Attributes> for serde_json::Value {
    fn from(map: &Attributes) -> Self {
        Self::Object(map.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

impl IntoIterator for Attributes {
    type Item = (SmolStr, AttributeValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(mut self) -> Self::IntoIter {
        mem::replace(&mut *self.entries, Entries::new()).into_row().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_names_are_sorted_and_the_last_duplicate_wins() {
        let map = crate::attributes! { "plan" => "pro", "b" => 1, "age" => 2, "ba" => 3, "" => true };
        let names: Vec<&str> = map.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "age", "b", "ba", "plan"]);
        let values = [true.into(), 2.into(), 1.into(), 3.into(), "pro".into()];
        assert!(map.iter().map(|(_, value)| value).eq(&values));
        assert!(crate::attributes! { "b" => 1, "a" => 2, "b" => 3 } == [("a", 2), ("b", 3)].into());
    }

    #[test]
    fn a_dropped_maps_room_is_the_next_ones() {
        let capacity = |map: &Attributes| match &*map.entries {
            Entries::Row(row) => row.capacity(),
            Entries::Tree(_) => 0,
        };
        drop(Attributes::with_capacity(12));
        let literals = crate::attributes! { "b" => 1, "a" => "x" };
        assert_eq!((capacity(&literals), literals.len()), (12, 2));
        assert_eq!(capacity(&Attributes::with_capacity(1)), 1, "there was one");
        drop(literals);
        let mut inserted = Attributes::new().with("a", 1);
        assert_eq!((capacity(&inserted), inserted.len()), (12, 1));
        inserted.shrink_to_fit();
        assert_eq!(capacity(&inserted), 1);
        drop(inserted);
        assert_eq!(capacity(&Attributes::with_capacity(2)), 2, "little room is not kept");
        drop(Attributes::with_capacity(1_000));
        assert_eq!(capacity(&Attributes::with_capacity(2)), 2, "nor is much");
        drop(Attributes::with_capacity(4));
        assert_eq!(capacity(&Attributes::with_capacity(5)), 5, "more is needed");
    }

    #[test]
    fn a_map_drops_what_is_on_the_heap() {
        let text: std::sync::Arc<str> = "a text that is too long to be stored inline".into();
        let shared = || SmolStr::from(text.clone());
        let map = || {
            let inner = Attributes::new().with("plain", 1).with(shared(), shared());
            let list = vec![AttributeValue::from(shared()), AttributeValue::Null];
            crate::attributes! { "plain" => 1, "text" => shared(), "list" => list, "map" => inner }
        };
        let mut kept = map();
        assert_eq!(std::sync::Arc::strong_count(&text), 5);
        kept.retain(|name, _| name == "plain");
        assert_eq!((kept.len(), std::sync::Arc::strong_count(&text)), (1, 1));
        drop((map(), map().with(shared(), 1), map().into_iter().next()));
        assert_eq!(std::sync::Arc::strong_count(&text), 1);
    }

    #[test]
    fn maps_may_be_made_and_dropped_while_a_thread_ends() {
        struct Late(Attributes);
        impl Drop for Late {
            fn drop(&mut self) {
                drop(crate::attributes! { "a" => 1, "b" => "x", "c" => true });
                self.0.insert("d", 1);
            }
        }
        // What drops a thread's values may drop them in any order: one is older than the spare room, one younger.
        thread_local! {
            static OLDER: Late = const { Late(Attributes::new()) };
            static YOUNGER: Late = Late(crate::attributes! { "a" => 1, "b" => "x", "c" => [1] });
        }
        let ended = std::thread::spawn(|| {
            OLDER.with(|late| assert!(late.0.is_empty()));
            drop(Attributes::with_capacity(4));
            YOUNGER.with(|late| assert_eq!(late.0.len(), 3));
        });
        assert!(ended.join().is_ok());
    }

    #[test]
    fn a_wrong_hint_changes_nothing() {
        let hint = Hint::default();
        let small = |name: &'static str| Attributes::new().with(name, 1).with("n", 2);
        let large: Attributes =
            (0..500).map(|at| (at.to_string(), at)).chain([("n".to_owned(), 2)]).collect();
        for map in [small("a"), small("z"), large, Attributes::new().with("n", 2), Attributes::new()] {
            for _ in 0..2 {
                assert_eq!(map.get_by("n", &hint), map.get("n"));
                assert_eq!(map.get_by("absent", &hint), None);
            }
        }
    }

    #[test]
    fn names_in_any_order_make_the_same_map() {
        let names = |step: usize| (0..20_000).map(move |at| (at * step % 20_000).to_string());
        let sorted: Attributes = {
            let mut names: Vec<_> = names(1).collect();
            names.sort();
            names.into_iter().map(|name| (name, 1)).collect()
        };
        assert!(matches!(*sorted.entries, Entries::Row(_)));
        let mut mixed: Attributes = names(7_919).map(|name| (name, 1)).collect();
        assert!(matches!(*mixed.entries, Entries::Tree(_)), "20,000 are not shifted for each of them");
        assert_eq!(size_of::<Attributes>(), size_of::<Vec<u8>>());
        assert_eq!((mixed.len(), mixed.iter().len()), (20_000, 20_000));
        assert!(mixed == sorted);
        assert!(sorted == mixed);
        assert!(mixed.iter().is_sorted_by_key(|(name, _)| name));
        assert_eq!(mixed.insert("5", 2), Some(AttributeValue::Number(1.0)));
        assert!(mixed != sorted && mixed.get("5") == Some(&AttributeValue::Number(2.0)));
        let (mut removed, mut clone) = (sorted.clone(), mixed.clone());
        for name in names(7_919).filter(|name| name.len() < 5) {
            assert_eq!(removed.remove(&name), Some(AttributeValue::Number(1.0)));
            assert!(clone.remove(&name).is_some() && clone.get(&name).is_none());
        }
        assert!(removed == clone && removed.len() == 10_000);
        clone.retain(|name, _| !name.ends_with('0'));
        assert!(clone.len() == 9_000 && clone.iter().all(|(name, _)| !name.ends_with('0')));
        assert!(clone.iter().is_sorted_by_key(|(name, _)| name) && removed.len() == 10_000);
        assert!(removed.heap_bytes() > 0 && removed.into_iter().map(|(name, _)| name).is_sorted());
    }
}
