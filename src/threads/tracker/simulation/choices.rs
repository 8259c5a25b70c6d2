//! Where a simulated run takes its choices from: a seed, or an exhaustive list.

/// A source of choices; the same source gives the same run.
pub(super) trait Choices {
    /// A number from zero up to, but not including, `ways`.
    fn below(&mut self, ways: usize) -> usize;

    fn pick<T: Clone>(&mut self, ways: &[T]) -> T {
        ways[self.below(ways.len())].clone()
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Random ones (SplitMix64).
pub(super) struct Seeded(pub(super) u64);

impl Choices for Seeded {
    fn below(&mut self, ways: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % ways as u64).unwrap()
    }
}

/// Every sequence of choices, one run after the other: the last choice that has another way takes it.
#[derive(Default)]
pub(super) struct Every {
    /// Of each choice of the run: the way taken, and how many there were.
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Every {
    /// Prepares the next run; says whether there is one.
    pub(super) fn next_run(&mut self) -> bool {
        self.at = 0;
        while let Some((way, ways)) = self.taken.pop() {
            if way + 1 < ways {
                self.taken.push((way + 1, ways));
                return true;
            }
        }
        false
    }
}

impl Choices for Every {
    fn below(&mut self, ways: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, ways));
        }
        let (way, known) = self.taken[self.at];
        assert_eq!(known, ways, "a run depends on its choices alone");
        self.at += 1;
        way
    }
}
