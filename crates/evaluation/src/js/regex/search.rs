//! The search: backtracking with an explicit stack and a budget.

use super::case::fold;
use super::class::is_word;
use super::parse::UNBOUNDED;
use super::program::{Label, Op, Program, below};

/// The steps of one decision, shared by all of its searches. Each instruction, repeated unit,
/// backtrack, register and byte of the text costs one, a test outside ASCII a few more.
const DECISION: u32 = 4_000_000;

/// The share that one search may use, so that a pattern that backtracks without end leaves some for
/// others.
const SEARCH: u32 = 2_000_000;

/// How many backtrack entries the stack can hold, which bounds the memory of a search to 4 MiB.
const DEEPEST_STACK: usize = 1 << 18;

/// The remaining steps of a decision.
#[derive(Debug)]
pub(crate) struct Steps(u32);

impl Steps {
    /// The full budget of one decision.
    pub(crate) const fn of_a_decision() -> Self {
        Self(DECISION)
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn left(&self) -> u32 {
        self.0
    }
}

/// Marks a register that was never written.
const UNSET: u32 = u32::MAX;

/// The search used up its budget.
struct Exhausted;

/// What to undo or to try next when a path fails.
enum Back {
    /// Continue there.
    To { label: Label, at: u32 },
    /// Give back one unit at a time until `least`, and continue there.
    Shrink { label: Label, at: u32, least: u32 },
    /// Take one more unit, at most `more`, and continue after it.
    Grow { unit: Label, at: u32, more: u32 },
    /// Restore a register.
    Register { register: u32, value: u32 },
}

struct Search<'a> {
    program: &'a Program,
    text: &'a [u16],
    registers: Vec<u32>,
    stack: Vec<Back>,
    steps: u32,
}

/// Whether the program matches anywhere in `text`; `None` if the budget was used up.
pub(super) fn is_match(program: &Program, text: &str, steps: &mut Steps) -> Option<bool> {
    let budget = steps.0.min(SEARCH);
    let mut left = budget;
    let found = search(program, text, &mut left);
    steps.0 -= budget - left;
    found.ok()
}

fn search(program: &Program, text: &str, left: &mut u32) -> Result<bool, Exhausted> {
    // Preparation is charged before it is done.
    let prepared = u32::try_from(text.len() + program.registers).map_err(|_| Exhausted)?;
    *left = left.checked_sub(prepared).ok_or(Exhausted)?;
    // Classes are closed under folding, so the text is folded once and compared as it is.
    let text: Vec<u16> = text.encode_utf16().map(fold).collect();
    let length = u32::try_from(text.len()).map_err(|_| Exhausted)?;
    let registers = vec![UNSET; program.registers];
    let mut search = Search { program, text: &text, registers, stack: Vec::new(), steps: *left };
    let found = search.anywhere(length);
    *left = search.steps;
    found
}

impl Search<'_> {
    fn anywhere(&mut self, length: u32) -> Result<bool, Exhausted> {
        let mut start = 0;
        while start <= length {
            if self.run(0, start, false)? {
                return Ok(true);
            }
            // A pattern that starts with an unbounded repeat, such as `.*`, has already tried every
            // start within the units that the repeat takes.
            if let Some(Op::RepeatUnit { max: UNBOUNDED, .. }) = self.program.ops.first() {
                while let Some(next) = self.take(1, start, false)? {
                    self.spend(1)?;
                    start = next;
                }
            }
            start += 1;
        }
        Ok(false)
    }

    /// Whether the instructions from `label` lead to `Match`. If not, the registers are unchanged;
    /// if so, the backtrack entries stay on the stack.
    fn run(&mut self, mut label: Label, mut at: u32, backwards: bool) -> Result<bool, Exhausted> {
        let base = self.stack.len();
        loop {
            self.spend(1)?;
            let forward = match &self.program.ops[label as usize] {
                Op::Match => return Ok(true),
                Op::Unit(_) | Op::Class(_) => match self.take(label, at, backwards)? {
                    Some(next) => {
                        at = next;
                        Some(label + 1)
                    }
                    None => None,
                },
                Op::Start => (at == 0).then_some(label + 1),
                Op::End => (at as usize == self.text.len()).then_some(label + 1),
                Op::WordBoundary { negated } => {
                    let word = |at: Option<u32>| {
                        at.and_then(|at| self.text.get(at as usize)).is_some_and(|unit| is_word(*unit))
                    };
                    let boundary = word(at.checked_sub(1)) != word(Some(at));
                    (boundary != *negated).then_some(label + 1)
                }
                Op::Save(register) => {
                    self.set(*register, at)?;
                    Some(label + 1)
                }
                Op::Clear { first, end } => {
                    for register in *first..*end {
                        self.set(register, UNSET)?;
                    }
                    Some(label + 1)
                }
                Op::Split { first, second } => {
                    self.push(Back::To { label: *second, at })?;
                    Some(*first)
                }
                Op::Jump(target) => Some(*target),
                Op::Reference(group) => match self.take_reference(*group, at, backwards)? {
                    Some(next) => {
                        at = next;
                        Some(label + 1)
                    }
                    None => None,
                },
                Op::Look { behind, negated, next } => {
                    let found = self.look(label + 1, at, *behind, *negated)?;
                    (found != *negated).then_some(*next)
                }
                Op::RepeatUnit { min, max, greedy } => {
                    match self.repeat_unit(label, at, backwards, (*min, *max, *greedy))? {
                        Some(next) => {
                            at = next;
                            Some(label + 2)
                        }
                        None => None,
                    }
                }
                Op::Enter { counter } => {
                    self.set(*counter, 0)?;
                    Some(label + 1)
                }
                Op::Loop { counter, min, max, greedy, exit } => {
                    let count = self.registers[*counter as usize];
                    if count < *min {
                        self.iterate(*counter, count, at)?;
                        Some(label + 1)
                    } else if !below(count, *max) {
                        Some(*exit)
                    } else if *greedy {
                        self.push(Back::To { label: *exit, at })?;
                        self.iterate(*counter, count, at)?;
                        Some(label + 1)
                    } else {
                        // A lazy loop exits first; backtracking starts the iteration.
                        self.push(Back::Grow { unit: label, at, more: 0 })?;
                        Some(*exit)
                    }
                }
                Op::Again { counter, min, head } => {
                    let count = self.registers[*counter as usize];
                    let started = self.registers[*counter as usize + 1];
                    (count <= *min || started != at).then_some(*head)
                }
            };
            match forward {
                Some(next) => label = next,
                None => match self.back(base, backwards)? {
                    Some((next, position)) => (label, at) = (next, position),
                    None => return Ok(false),
                },
            }
        }
    }

    /// Runs a lookaround. A positive one keeps its captures but not its backtrack entries.
    fn look(&mut self, body: Label, at: u32, behind: bool, negated: bool) -> Result<bool, Exhausted> {
        let base = self.stack.len();
        let found = self.run(body, at, behind)?;
        if found && negated {
            while self.stack.len() > base {
                if let Some(Back::Register { register, value }) = self.stack.pop() {
                    self.registers[register as usize] = value;
                }
            }
        } else if found {
            self.forget_ways_back(base)?;
        }
        Ok(found)
    }

    /// Keeps only the register entries above `base`, which a later failure restores. The rest of
    /// the stack is not touched, so the cost is what the lookaround pushed.
    fn forget_ways_back(&mut self, base: usize) -> Result<(), Exhausted> {
        let mut kept = base;
        self.spend(u32::try_from(self.stack.len() - base).unwrap_or(u32::MAX))?;
        for at in base..self.stack.len() {
            if matches!(self.stack[at], Back::Register { .. }) {
                self.stack.swap(kept, at);
                kept += 1;
            }
        }
        self.stack.truncate(kept);
        Ok(())
    }

    /// Pops the last backtrack entry above `base`.
    fn back(&mut self, base: usize, backwards: bool) -> Result<Option<(Label, u32)>, Exhausted> {
        while self.stack.len() > base {
            self.spend(1)?;
            match self.stack.pop() {
                Some(Back::Register { register, value }) => self.registers[register as usize] = value,
                Some(Back::To { label, at }) => return Ok(Some((label, at))),
                Some(Back::Shrink { label, at, least }) => {
                    let at = if backwards { at + 1 } else { at - 1 };
                    if at != least {
                        self.push(Back::Shrink { label, at, least })?;
                    }
                    return Ok(Some((label, at)));
                }
                Some(Back::Grow { unit, at, more }) => {
                    if let Op::Loop { counter, .. } = &self.program.ops[unit as usize] {
                        let count = self.registers[*counter as usize];
                        self.iterate(*counter, count, at)?;
                        return Ok(Some((unit + 1, at)));
                    }
                    if let Some(next) = self.take(unit, at, backwards)? {
                        if more > 1 {
                            self.push(Back::Grow { unit, at: next, more: more - 1 })?;
                        }
                        return Ok(Some((unit + 1, next)));
                    }
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// The position after one unit, if the instruction takes it.
    fn take(&mut self, label: Label, at: u32, backwards: bool) -> Result<Option<u32>, Exhausted> {
        let next = if backwards { at.checked_sub(1) } else { Some(at + 1) };
        let place = if backwards { next } else { Some(at) };
        let Some(unit) = place.and_then(|place| self.text.get(place as usize)).copied() else {
            return Ok(None);
        };
        let taken = match &self.program.ops[label as usize] {
            Op::Unit(wanted) => unit == *wanted,
            Op::Class(set) => {
                let set = &self.program.sets[*set as usize];
                self.spend(set.steps(unit))?;
                set.contains(unit)
            }
            _ => false,
        };
        Ok(next.filter(|_| taken))
    }

    fn repeat_unit(
        &mut self,
        label: Label,
        start: u32,
        backwards: bool,
        (min, max, greedy): (u32, u32, bool),
    ) -> Result<Option<u32>, Exhausted> {
        let unit = label + 1;
        let (mut at, mut count, mut least) = (start, 0, start);
        let wanted = if greedy { max } else { min };
        while below(count, wanted) {
            let Some(next) = self.take(unit, at, backwards)? else { break };
            self.spend(1)?;
            (at, count) = (next, count + 1);
            if count == min {
                least = at;
            }
        }
        if count < min {
            return Ok(None);
        }
        if greedy && count > min {
            self.push(Back::Shrink { label: unit + 1, at, least })?;
        } else if !greedy && max > min {
            let more = max - min;
            self.push(Back::Grow { unit, at, more })?;
        }
        Ok(Some(at))
    }

    /// Matches the captured text of a group; an unset group matches the empty string.
    fn take_reference(&mut self, group: u32, at: u32, backwards: bool) -> Result<Option<u32>, Exhausted> {
        let (start, end) = (self.registers[group as usize * 2], self.registers[group as usize * 2 + 1]);
        if start == UNSET || end == UNSET {
            return Ok(Some(at));
        }
        let length = end - start;
        self.spend(length)?;
        let Some(from) = (if backwards { at.checked_sub(length) } else { Some(at) }) else { return Ok(None) };
        let text = |from: u32| self.text.get(from as usize..(from + length) as usize);
        let same = text(from).is_some_and(|found| Some(found) == text(start));
        Ok(same.then_some(if backwards { from } else { at + length }))
    }

    fn iterate(&mut self, counter: u32, count: u32, at: u32) -> Result<(), Exhausted> {
        self.set(counter, count.saturating_add(1))?;
        self.set(counter + 1, at)
    }

    fn set(&mut self, register: u32, value: u32) -> Result<(), Exhausted> {
        let before = std::mem::replace(&mut self.registers[register as usize], value);
        if before == value {
            return self.spend(1);
        }
        self.push(Back::Register { register, value: before })
    }

    fn push(&mut self, back: Back) -> Result<(), Exhausted> {
        if self.stack.len() >= DEEPEST_STACK {
            return Err(Exhausted);
        }
        self.stack.push(back);
        self.spend(1)
    }

    fn spend(&mut self, steps: u32) -> Result<(), Exhausted> {
        self.steps = self.steps.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }
}
