//! Values by a number that stays theirs.

/// So many values are allocated together.
const CHUNK: usize = 64;

/// Values in chunks, so that growing moves none; a removed one's place is taken by the next.
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// `None` if there are 2^32 values already.
    #[inline(always)]
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(at) = self.free.pop() {
            *self.place(at)? = Some(value);
            return Some(at);
        }
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let last = self.chunks.last_mut()?;
        let at = u32::try_from(before + last.len()).ok()?;
        last.push(Some(value));
        Some(at)
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.place(at)?.as_mut()
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let removed = self.place(at)?.take();
        if removed.is_some() {
            self.free.push(at);
        }
        removed
    }

    #[inline]
    fn place(&mut self, at: u32) -> Option<&mut Option<T>> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_values_place_is_taken_again() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..3 * CHUNK).filter_map(|value| slab.insert(value)).collect();
        assert!(places.iter().zip(0..).all(|(at, value)| slab.get(*at) == Some(&value)));
        assert_eq!((slab.remove(places[70]), slab.remove(places[70])), (Some(70), None));
        assert!(slab.get(places[70]).is_none() && slab.insert(1_000) == Some(places[70]));
        assert_eq!(slab.get_mut(places[70]).copied(), Some(1_000));
    }
}
