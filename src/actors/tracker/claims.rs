//! Claims that the data store has been asked for and has not answered, where their records have gone.

use std::collections::HashMap;

/// A record can be dropped while the store is asked about it. One of the same mark that comes then takes
/// the claim over: a claim of its own would find the first one's lease.
#[derive(Default)]
pub(super) struct Claims {
    /// The numbers of claims whose records were dropped, by key.
    orphans: HashMap<String, u64>,
    /// Records by the number of the claim that they took over, and the other way round.
    adopted: HashMap<u64, u64>,
    numbers: HashMap<u64, u64>,
}

impl Claims {
    /// A record wants a claim; says whether the store is to be asked, with the record's number.
    pub(super) fn ask(&mut self, sequence: u64, key: &str) -> bool {
        let Some(number) = self.orphans.remove(key) else { return true };
        self.adopted.insert(number, sequence);
        self.numbers.insert(sequence, number);
        false
    }

    /// A record was dropped before the answer.
    pub(super) fn orphan(&mut self, sequence: u64, key: String) {
        let number = self.numbers.remove(&sequence).unwrap_or(sequence);
        self.adopted.remove(&number);
        self.orphans.insert(key, number);
    }

    /// The claim with this number is answered; returns the record that has it now.
    pub(super) fn answered(&mut self, number: u64, key: &str) -> u64 {
        if self.orphans.get(key) == Some(&number) {
            self.orphans.remove(key);
        }
        let sequence = self.adopted.remove(&number).unwrap_or(number);
        self.numbers.remove(&sequence);
        sequence
    }
}
