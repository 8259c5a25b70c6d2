//! The bucketing hash of the official SDKs, computed incrementally.

/// Incremental MurmurHash3 (x86, 32 bits): everything before the visitor id is hashed at load time,
/// and an evaluation concatenates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Murmur3 {
    state: u32,
    /// Up to three bytes of an incomplete block, the first in the lowest byte.
    tail: u32,
    tail_bits: u32,
    length: u32,
}

impl Murmur3 {
    pub(crate) const fn new(seed: u32) -> Self {
        Self { state: seed, tail: 0, tail_bits: 0, length: 0 }
    }

    #[must_use]
    #[inline]
    pub(crate) fn update(mut self, bytes: &[u8]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the algorithm counts the length modulo 2^32")]
        let length = bytes.len() as u32;
        self.length = self.length.wrapping_add(length);
        let (blocks, rest) = bytes.as_chunks::<4>();
        for block in blocks {
            // A tail shifts all blocks: each takes its low bytes from the one before.
            let waiting = self.joined(u32::from_le_bytes(*block));
            self.block(low(waiting));
            self.tail = low(waiting >> 32);
        }
        let (last, bits) = match *rest {
            [] => return self,
            [one] => ([one, 0, 0, 0], 8),
            [one, two] => ([one, two, 0, 0], 16),
            [one, two, three, ..] => ([one, two, three, 0], 24),
        };
        let waiting = self.joined(u32::from_le_bytes(last));
        self.tail = low(waiting);
        self.tail_bits += bits;
        if self.tail_bits >= 32 {
            self.block(low(waiting));
            self.tail = low(waiting >> 32);
            self.tail_bits -= 32;
        }
        self
    }

    /// Appends a word to the tail.
    #[inline]
    fn joined(&self, word: u32) -> u64 {
        u64::from(self.tail) | u64::from(word) << self.tail_bits
    }

    pub(crate) const fn finish(self) -> u32 {
        // An empty tail is 0, and scrambles to 0.
        let mut hash = self.state ^ scramble(self.tail) ^ self.length;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }

    const fn block(&mut self, block: u32) {
        self.state = (self.state ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low(waiting: u64) -> u32 {
    waiting as u32
}

const fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hash_like_the_whole_text_in_the_murmur3_crate() {
        let text: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(37) ^ 0x5a).collect();
        for end in 0..text.len() {
            let expected = murmur3::murmur3_32(&mut &text[..end], 9999).unwrap();
            for (one, two) in (0..=end).flat_map(|one| (one..=end).map(move |two| (one, two))) {
                let pieces = Murmur3::new(9999).update(&text[..one]).update(&text[one..two]);
                assert_eq!(pieces.update(&text[two..end]).finish(), expected, "{one} and {two} of {end}");
            }
        }
    }
}
