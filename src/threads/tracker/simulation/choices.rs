//! Where a simulated run gets its choices: from a seed, or from an exhaustive enumeration.

/// A source of choices; the same source produces the same run.
pub(super) trait Choices {
    /// A number from zero up to, but not including, `ways`.
    fn below(&mut self, ways: usize) -> usize;

    fn pick<T: Clone>(&mut self, ways: &[T]) -> T {
        ways[self.below(ways.len())].clone()
    }

    /// True once in this many times, on average.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Random choices (SplitMix64).
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

/// Every sequence of choices, run by run: the last choice with an untried alternative takes it.
#[derive(Default)]
pub(super) struct Every {
    /// For each choice of the run: the alternative taken, and how many there were.
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Every {
    /// Prepares the next run; returns whether there is one.
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
        assert_eq!(known, ways, "a run depends only on its choices");
        self.at += 1;
        way
    }
}
