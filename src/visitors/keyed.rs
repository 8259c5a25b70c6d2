//! The keyed hash of a visitor's id.

use std::hash::{BuildHasher, RandomState};

/// The words of an id that have random numbers of their own.
const WORDS: usize = 6;

/// Keyed, since visitors can choose their ids. The hash of a short id is the upper half of a sum of its words, each times
/// a random number of 128 bits: without those numbers, which never leave the process, two ids collide with a probability
/// of 2^-64 (Dietzfelbinger's multiply-shift hashing of vectors). This takes a quarter of SipHash's instructions,
/// which remains for long ids.
#[derive(Clone)]
pub(super) struct KeyedHash {
    random: RandomState,
    of_nothing: u128,
    of_length: u128,
    of_words: [u128; WORDS],
}

impl KeyedHash {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        let half = |at: usize| u128::from(random.hash_one(at));
        let number = |at: usize| half(2 * at) << 64 | half(2 * at + 1);
        Self {
            of_nothing: number(WORDS),
            of_length: number(WORDS + 1),
            of_words: std::array::from_fn(number),
            random,
        }
    }

    #[inline]
    pub(super) fn hash_one(&self, id: &str) -> u64 {
        if id.len() > 8 * WORDS {
            return self.random.hash_one(id);
        }
        let times = |number: &u128, word: u64| number.wrapping_mul(u128::from(word));
        let mut sum = self.of_nothing.wrapping_add(times(&self.of_length, id.len() as u64));
        let (words, rest) = id.as_bytes().as_chunks();
        let mut numbers = self.of_words.iter();
        for (word, number) in words.iter().zip(&mut numbers) {
            sum = sum.wrapping_add(times(number, u64::from_le_bytes(*word)));
        }
        if let Some(number) = numbers.next()
            && !rest.is_empty()
        {
            // The last word overlaps the one before it, if there is one.
            let word = id.as_bytes().last_chunk().map_or_else(
                || rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
                |word| u64::from_le_bytes(*word),
            );
            sum = sum.wrapping_add(times(number, word));
        }
        scattered((sum >> 64) as u64)
    }
}

/// Ids in a row have sums in a row, which this scatters: the last step of MurmurHash3, which maps no two to one.
#[inline]
const fn scattered(sum: u64) -> u64 {
    let sum = (sum ^ sum >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let sum = (sum ^ sum >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    sum ^ sum >> 33
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let keyed = KeyedHash::new();
        let mut seen = HashSet::new();
        for length in 0..70 {
            let id = "\0".repeat(length);
            assert_eq!(keyed.hash_one(&id), keyed.clone().hash_one(&id));
            assert!(seen.insert(keyed.hash_one(&id)), "{length}");
            for at in 0..length {
                let mut other = id.clone();
                other.replace_range(at..=at, "a");
                assert!(seen.insert(keyed.hash_one(&other)), "{length} {at}");
            }
        }
    }

    #[test]
    fn each_has_keys_of_its_own() {
        let hashes: HashSet<u64> = (0..100)
            .flat_map(|_| ["", "v", "visitor-00000001"].map(|id| KeyedHash::new().hash_one(id)))
            .collect();
        assert_eq!(hashes.len(), 300);
    }

    /// The sums of a hundred sets of keys, by the definition.
    #[test]
    fn a_hash_is_the_sum_of_its_words() {
        for _ in 0..100 {
            let keyed = KeyedHash::new();
            let word = |text: &[u8; 8]| u128::from(u64::from_le_bytes(*text));
            let numbers = keyed.of_words;
            let sum = keyed
                .of_nothing
                .wrapping_add(keyed.of_length.wrapping_mul(18))
                .wrapping_add(numbers[0].wrapping_mul(word(b"visitor-")))
                .wrapping_add(numbers[1].wrapping_mul(word(b"12345678")))
                .wrapping_add(numbers[2].wrapping_mul(word(b"34567890")));
            assert_eq!(keyed.hash_one("visitor-1234567890"), scattered((sum >> 64) as u64));
        }
    }
}
