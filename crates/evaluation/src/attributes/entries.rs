//! The entries of a map by name: in a sorted row, and in a tree where the row would be shifted too often.

use std::collections::{BTreeMap, btree_map};
use std::slice;
use std::sync::atomic::{AtomicU8, Ordering};

use smol_str::SmolStr;

use super::AttributeValue;
use crate::short::same;

/// Up to so many entries are searched in a row.
const FEW: usize = 8;

/// Up to so many entries are shifted to make or close a gap. Rows that come in order may be longer.
const LONGEST_SHIFTED: usize = 128;

#[derive(Clone)]
pub(super) enum Entries {
    Row(Vec<(SmolStr, AttributeValue)>),
    #[expect(clippy::box_collection, reason = "a map takes no more room within a value than a row does")]
    Tree(Box<BTreeMap<SmolStr, AttributeValue>>),
}

/// Where a name was found the first time, plus one; 0 is nowhere yet. The visitors of one application mostly
/// have the same attributes, and so a name in the same place. Kept from then on, so that nobody writes where
/// other threads read.
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
        Self::Row(Vec::with_capacity(entries))
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
            // Comparing lengths tells most names apart, so few of them are found faster one by one.
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

    /// Whether any entry is one that is wanted.
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
            Self::Tree(tree) => tree.get_mut(name),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, name: SmolStr, value: AttributeValue) -> Option<AttributeValue> {
        match self {
            // Names often come in their order.
            Self::Row(row) if row.last().is_none_or(|(last, _)| last.as_str() < name.as_str()) => {
                if row.capacity() == 0 {
                    row.reserve_exact(4);
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
                Ok(at) => Some(std::mem::replace(&mut row[at].1, value)),
                Err(at) if row.len() - at <= LONGEST_SHIFTED => {
                    row.insert(at, (name, value));
                    None
                }
                Err(_) => {
                    let mut tree = grown(row);
                    tree.insert(name, value);
                    *self = Self::Tree(Box::new(tree));
                    None
                }
            },
            Self::Tree(tree) => tree.insert(name, value),
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
                *self = Self::Tree(Box::new(tree));
                removed
            }
            Self::Tree(tree) => tree.remove(name),
        }
    }

    /// Takes the entries with wanted names out, of which there are `count`.
    pub(super) fn extract(&mut self, count: usize, mut wanted: impl FnMut(&str) -> bool) -> Self {
        match self {
            Self::Row(row) => {
                let mut taken = Vec::with_capacity(count);
                taken.extend(row.extract_if(.., |(name, _)| wanted(name)));
                Self::Row(taken)
            }
            Self::Tree(tree) => {
                let names: Vec<_> = tree.keys().filter(|name| wanted(name)).cloned().collect();
                Self::Row(names.iter().filter_map(|name| tree.remove_entry(name)).collect())
            }
        }
    }

    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        match self {
            Self::Row(row) => row.retain(|(name, _)| wanted(name)),
            Self::Tree(tree) => tree.retain(|name, _| wanted(name)),
        }
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
            Self::Tree(tree) => tree.into_iter().collect(),
        }
    }

    /// Bytes that the entries take, without what hangs on them.
    pub(super) fn row_bytes(&self) -> usize {
        let entry = size_of::<(SmolStr, AttributeValue)>();
        match self {
            Self::Row(row) => row.capacity() * entry,
            // Nodes of a tree are two thirds full or more, most of the time.
            Self::Tree(tree) => tree.len() * (entry + entry / 2),
        }
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
    std::mem::take(row).into_iter().collect()
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
