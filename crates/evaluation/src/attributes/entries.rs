//! The entries of a map: a sorted vector, or a tree once insertions would shift too much of it.

use std::cell::Cell;
use std::collections::{BTreeMap, btree_map};
use std::mem;
use std::ops::RangeInclusive;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use smol_str::SmolStr;

use super::AttributeValue;
use crate::short::same;

/// Up to this many entries are searched linearly.
const FEW: usize = 8;

/// Inserting and removing shift at most this many entries. Vectors that are filled in order may be
/// longer.
const LONGEST_SHIFTED: usize = 128;

/// A row with room for so many entries is kept for the thread's next map. One with less was mostly shrunk for what
/// outlives a request, and one with more would be much for a thread to hold.
const SPARE: RangeInclusive<usize> = 3..=16;

thread_local! {
    /// The empty row of the map that this thread dropped last. A request's map is mostly as large as the one before it,
    /// and then allocates nothing.
    static ROOM: Cell<Row> = const { Cell::new(Row::new()) };
}

type Row = Vec<(SmolStr, AttributeValue)>;

#[derive(Clone)]
pub(super) enum Entries {
    Row(Row),
    // Behind a pointer, as a map must take no more room within a value than a row does. An `Arc`, since the drop of a
    // `Box` would be inlined wherever a row is dropped.
    Tree(Arc<BTreeMap<SmolStr, AttributeValue>>),
}

/// Where a name was first found, plus one; 0 while unknown. Visitors of one application mostly have
/// the same attributes, so a name is mostly in the same place. Written once, so that no thread
/// writes to memory that others read.
#[derive(Default)]
pub(crate) struct Hint(AtomicU8);

pub(super) enum Iter<'a> {
    Row(slice::Iter<'a, (SmolStr, AttributeValue)>),
    Tree(btree_map::Iter<'a, SmolStr, AttributeValue>),
}

impl Entries {
    pub(super) const fn new() -> Self {
        Self::Row(Vec::new())
    }

    #[inline]
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self::Row(room(entries))
    }

    /// Whether there is nothing to release.
    #[inline]
    pub(super) fn is_unallocated(&self) -> bool {
        matches!(self, Self::Row(row) if row.capacity() == 0)
    }

    /// Drops the entries, and keeps the room of a row for the thread's next map.
    #[inline(never)]
    pub(super) fn release(&mut self) {
        if let Self::Row(row) = self
            && SPARE.contains(&row.capacity())
        {
            truncate(row, 0);
            // A thread that ends keeps nothing; then the row is dropped below.
            ROOM.try_with(|room| room.set(mem::take(row))).ok();
        }
        *self = Self::new();
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Row(row) => row.len(),
            Self::Tree(tree) => tree.len(),
        }
    }

    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&AttributeValue> {
        match self {
            // Most names differ in length, so a linear search is faster for a few.
            Self::Row(row) if row.len() <= FEW => {
                row.iter().find(|(entry, _)| same(entry, name)).map(|(_, value)| value)
            }
            Self::Row(row) => position(row, name).ok().map(|at| &row[at].1),
            Self::Tree(tree) => tree.get(name),
        }
    }

    #[inline]
    pub(super) fn get_by(&self, name: &str, hint: &Hint) -> Option<&AttributeValue> {
        let Self::Row(row) = self else { return self.get(name) };
        let at = usize::from(hint.0.load(Ordering::Relaxed));
        match row.get(at.wrapping_sub(1)) {
            Some((entry, value)) if same(entry, name) => Some(value),
            _ => search(row, name, hint),
        }
    }

    /// See [`AttributesExt`](super::AttributesExt).
    #[inline(always)]
    pub(super) fn has_text_at(&self, at: usize, name: &str, text: &SmolStr) -> bool {
        if let Self::Row(row) = self
            && let Some((entry, AttributeValue::String(value))) = row.get(at)
        {
            return same(name, entry) && text == value;
        }
        false
    }

    /// Whether any entry is wanted.
    #[inline]
    pub(super) fn any(&self, mut wanted: impl FnMut(&str, &AttributeValue) -> bool) -> bool {
        match self {
            Self::Row(row) => row.iter().any(|(name, value)| wanted(name, value)),
            Self::Tree(tree) => tree.iter().any(|(name, value)| wanted(name, value)),
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut AttributeValue> {
        match self {
            Self::Row(row) => position(row, name).ok().map(|at| &mut row[at].1),
            Self::Tree(tree) => Arc::make_mut(tree).get_mut(name),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, name: SmolStr, value: AttributeValue) -> Option<AttributeValue> {
        match self {
            // Names often arrive in order.
            Self::Row(row) if row.last().is_none_or(|(last, _)| last.as_str() < name.as_str()) => {
                if row.capacity() == 0 {
                    *row = room(4);
                }
                row.push((name, value));
                None
            }
            _ => self.insert_within(name, value),
        }
    }

    #[inline(never)]
    fn insert_within(&mut self, name: SmolStr, value: AttributeValue) -> Option<AttributeValue> {
        match self {
            Self::Row(row) => match position(row, &name) {
                Ok(at) => Some(mem::replace(&mut row[at].1, value)),
                Err(at) if row.len() - at <= LONGEST_SHIFTED => {
                    row.insert(at, (name, value));
                    None
                }
                Err(_) => {
                    let mut tree = grown(row);
                    tree.insert(name, value);
                    *self = Self::Tree(Arc::new(tree));
                    None
                }
            },
            Self::Tree(tree) => Arc::make_mut(tree).insert(name, value),
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        match self {
            Self::Row(row) => {
                let at = position(row, name).ok()?;
                if row.len() - at <= LONGEST_SHIFTED {
                    return Some(row.remove(at).1);
                }
                let mut tree = grown(row);
                let removed = tree.remove(name);
                *self = Self::Tree(Arc::new(tree));
                removed
            }
            Self::Tree(tree) => Arc::make_mut(tree).remove(name),
        }
    }

    #[inline]
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&SmolStr, &mut AttributeValue) -> bool) {
        #[cold]
        #[inline(never)]
        fn lined_up(entries: &mut Entries) {
            *entries = Entries::Row(mem::replace(entries, Entries::new()).into_row());
        }
        if let Self::Tree(_) = self {
            lined_up(self);
        }
        let Self::Row(row) = self else { return };
        // Unlike the vector's own, this has one call of the closure, which is inlined.
        let mut kept = 0;
        for at in 0..row.len() {
            let (name, value) = &mut row[at];
            if wanted(name, value) {
                if kept < at {
                    row.swap(kept, at);
                }
                kept += 1;
            }
        }
        truncate(row, kept);
    }

    #[inline]
    pub(super) fn iter(&self) -> Iter<'_> {
        match self {
            Self::Row(row) => Iter::Row(row.iter()),
            Self::Tree(tree) => Iter::Tree(tree.iter()),
        }
    }

    pub(super) fn into_row(self) -> Vec<(SmolStr, AttributeValue)> {
        match self {
            Self::Row(row) => row,
            Self::Tree(tree) => Arc::unwrap_or_clone(tree).into_iter().collect(),
        }
    }

    /// The bytes of the entries themselves, without the heap data they own.
    pub(super) fn row_bytes(&self) -> usize {
        let entry = size_of::<(SmolStr, AttributeValue)>();
        match self {
            Self::Row(row) => row.capacity() * entry,
            // Tree nodes are usually at least two thirds full.
            Self::Tree(tree) => tree.len() * (entry + entry / 2),
        }
    }
}

/// An empty row with room for so many entries.
#[inline]
pub(super) fn room(entries: usize) -> Row {
    // A thread that ends has none left.
    let row = ROOM.try_with(Cell::take).unwrap_or_default();
    if row.capacity() < entries { Row::with_capacity(entries) } else { row }
}

/// Unlike the vector's own, this calls nothing for entries that have nothing on the heap.
#[inline]
fn truncate(row: &mut Row, length: usize) {
    let is_plain = |(name, value): &(SmolStr, AttributeValue)| !name.is_heap_allocated() && value.is_plain();
    if row.get(length..).is_some_and(|entries| entries.iter().all(is_plain)) {
        while row.len() > length {
            // It has nothing to drop.
            mem::forget(row.pop());
        }
    } else {
        row.truncate(length);
    }
}

#[inline(never)]
fn search<'a>(row: &'a [(SmolStr, AttributeValue)], name: &str, hint: &Hint) -> Option<&'a AttributeValue> {
    let at = match row.len() {
        0..=FEW => row.iter().position(|(entry, _)| same(entry, name))?,
        _ => position(row, name).ok()?,
    };
    if hint.0.load(Ordering::Relaxed) == 0 {
        hint.0.store(u8::try_from(at + 1).unwrap_or_default(), Ordering::Relaxed);
    }
    Some(&row[at].1)
}

fn grown(row: &mut Vec<(SmolStr, AttributeValue)>) -> BTreeMap<SmolStr, AttributeValue> {
    mem::take(row).into_iter().collect()
}

fn position(row: &[(SmolStr, AttributeValue)], name: &str) -> Result<usize, usize> {
    row.binary_search_by(|(entry, _)| entry.as_str().cmp(name))
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a AttributeValue);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Row(row) => row.next().map(|(name, value)| (name.as_str(), value)),
            Self::Tree(tree) => tree.next().map(|(name, value)| (name.as_str(), value)),
        }
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, start: B, mut add: F) -> B {
        match self {
            Self::Row(row) => row.fold(start, |all, (name, value)| add(all, (name, value))),
            Self::Tree(tree) => tree.fold(start, |all, (name, value)| add(all, (name, value))),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = match self {
            Self::Row(row) => row.len(),
            Self::Tree(tree) => tree.len(),
        };
        (length, Some(length))
    }
}

impl ExactSizeIterator for Iter<'_> {}
