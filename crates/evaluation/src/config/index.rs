//! Finds an entity by key or id with one hash probe.

use std::hash::{BuildHasher, RandomState};

use crate::short::{ends, same};

/// A position as it is stored. A text is under 4 GiB, so it holds fewer entities than that.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// An open-addressing table from string to position. The strings stay in the entities, so no key is
/// stored twice; the first entity with a string wins.
#[derive(Default)]
pub(crate) struct Index {
    /// Positions plus one; 0 is an empty slot. The length is a power of two, or zero.
    slots: Box<[u32]>,
    seed: u64,
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// More probes per string than this mean that the strings were chosen to collide. The table is at
/// most half full, so one or two are normal.
const MOST_PROBES: usize = 16;

impl Index {
    /// Indexes `texts` by their position.
    pub(crate) fn build<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let texts: Vec<&str> = texts.collect();
        if texts.is_empty() {
            return Self::default();
        }
        // Whoever chose colliding strings cannot have known a seed drawn now.
        let drawn = || RandomState::new().hash_one(SEED);
        Self::seeded(&texts, SEED, MOST_PROBES * texts.len())
            .or_else(|| Self::seeded(&texts, drawn(), MOST_PROBES * texts.len()))
            .or_else(|| Self::seeded(&texts, drawn(), usize::MAX))
            .unwrap_or_default()
    }

    /// `None` if it takes more than `probes` probes.
    fn seeded(texts: &[&str], seed: u64, mut probes: usize) -> Option<Self> {
        let mut slots = vec![0_u32; (texts.len() * 2).next_power_of_two()].into_boxed_slice();
        let mask = slots.len() - 1;
        for (position, text) in texts.iter().enumerate() {
            let mut slot = hash(text, seed) as usize & mask;
            loop {
                probes = probes.checked_sub(1)?;
                match slots[slot] {
                    0 => {
                        slots[slot] = u32::try_from(position + 1).unwrap_or(0);
                        break;
                    }
                    taken if texts[taken as usize - 1] == *text => break,
                    _ => slot = (slot + 1) & mask,
                }
            }
        }
        Some(Self { slots, seed })
    }

    /// The first position for which `text_at` gives `text`.
    #[inline]
    pub(crate) fn find<'a>(&self, text: &str, text_at: impl Fn(usize) -> Option<&'a str>) -> Option<usize> {
        match text.len() {
            8..=16 => self.find_short::<8, _>(text, text_at),
            17..=32 => self.find_short::<16, _>(text, text_at),
            _ => self.find_from(hash(text, self.seed), text, text_at),
        }
    }

    /// [`find`](Self::find) for texts of `N` to `2 * N` bytes. Most are in their first slot; further ones are searched
    /// apart, which leaves few instructions here.
    #[inline(always)]
    fn find_short<'a, const N: usize, T: Fn(usize) -> Option<&'a str>>(
        &self,
        text: &str,
        text_at: T,
    ) -> Option<usize> {
        let hash = hash_ends::<N>(text.as_bytes(), self.seed);
        let mask = self.slots.len().checked_sub(1)?;
        let position = self.slots[hash as usize & mask].checked_sub(1)? as usize;
        let known = text_at(position)?;
        if known.len() == text.len() && ends::<N>(known.as_bytes(), text.as_bytes()) {
            return Some(position);
        }
        self.find_from(hash, text, text_at)
    }

    #[inline(never)]
    fn find_from<'a>(
        &self,
        hash: u64,
        text: &str,
        text_at: impl Fn(usize) -> Option<&'a str>,
    ) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & mask;
        loop {
            let position = self.slots[slot].checked_sub(1)? as usize;
            if text_at(position).is_some_and(|known| same(known, text)) {
                return Some(position);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// A multiplicative hash over sixteen bytes at a time. Both halves of each product are kept, so that
/// a difference in the last byte reaches the low bits, which choose the slot.
fn hash(text: &str, seed: u64) -> u64 {
    let bytes = text.as_bytes();
    match bytes.len() {
        17..=32 => hash_ends::<16>(bytes, seed),
        8..=16 => hash_ends::<8>(bytes, seed),
        4..=7 => hash_ends::<4>(bytes, seed),
        length => bytes.chunks(16).fold(seed ^ length as u64, |hash, chunk| match chunk.len() {
            8.. => hash_ends::<8>(chunk, hash),
            _ => chunk.iter().fold(hash, |hash, byte| mixed(hash ^ u64::from(*byte), 0)),
        }),
    }
}

/// The hash of the first and the last `N` bytes, which overlap unless there are twice as many.
#[inline(always)]
fn hash_ends<const N: usize>(bytes: &[u8], seed: u64) -> u64 {
    let (first, last) = (bytes, &bytes[bytes.len() - N..]);
    let start = seed ^ bytes.len() as u64;
    if N < 16 {
        return mixed(start ^ word::<N>(first), word::<N>(last));
    }
    let start = mixed(start ^ word::<8>(first), word::<8>(&first[8..]));
    mixed(start ^ word::<8>(last), word::<8>(&last[8..]))
}

/// The first `N` bytes as a little-endian number.
#[inline]
fn word<const N: usize>(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&bytes[..N]);
    u64::from_le_bytes(word)
}

#[inline]
fn mixed(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right ^ SEED);
    #[expect(clippy::cast_possible_truncation, reason = "the low half and the high half")]
    {
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_keys_spread_over_the_slots() {
        for length in [1, 3, 6, 8, 11, 17, 33, 41, 100] {
            let keys: Vec<String> = (0..1000).map(|n| format!("{n:0length$}")).collect();
            let index = Index::build(keys.iter().map(String::as_str));
            let looks = std::cell::Cell::new(0);
            for key in &keys {
                let found = index.find(key, |position| {
                    looks.set(looks.get() + 1);
                    keys.get(position).map(String::as_str)
                });
                assert_eq!(found.map(|position| &keys[position]), Some(key));
            }
            assert!(looks.get() < 3000, "{} looks for keys of {length}", looks.get());
        }
    }

    /// Strings whose hashes under the default seed end alike.
    fn colliding(count: usize) -> Vec<String> {
        let low = |text: &str| hash(text, SEED) & 0x1ff;
        let wanted = low("0");
        (0_u64..).map(|n| n.to_string()).filter(|text| low(text) == wanted).take(count).collect()
    }

    #[test]
    fn texts_chosen_to_collide_are_still_found() {
        let keys = colliding(200);
        let index = Index::build(keys.iter().map(String::as_str));
        let looks = std::cell::Cell::new(0);
        for (position, key) in keys.iter().enumerate() {
            let text_at = |position: usize| {
                looks.set(looks.get() + 1);
                keys.get(position).map(String::as_str)
            };
            assert_eq!(index.find(key, text_at), Some(position));
        }
        assert!(looks.get() <= 200 * MOST_PROBES, "{} looks for 200 keys", looks.get());
    }

    #[test]
    fn the_index_finds_the_first_of_each_text_and_nothing_else() {
        let texts: Vec<String> = (0..500).map(|n| format!("key-{}", n % 400)).collect();
        let index = Index::build(texts.iter().map(String::as_str));
        let text_at = |position: usize| texts.get(position).map(String::as_str);
        for (position, text) in texts.iter().enumerate() {
            assert_eq!(index.find(text, text_at), Some(position % 400), "{text}");
        }
        assert_eq!(index.find("key-400", text_at), None);
        assert_eq!(Index::default().find("key-1", text_at), None);
    }
}
