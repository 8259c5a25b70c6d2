//! A pattern compiled to instructions.

use std::collections::HashMap;

use super::case::fold;
use super::class::{FoldedSet, Set};
use super::parse::{Node, Parsed, UNBOUNDED};

/// The index of an instruction.
pub(super) type Label = u32;

#[derive(Debug)]
pub(super) enum Op {
    /// One folded unit.
    Unit(u16),
    Class(u32),
    Start,
    End,
    WordBoundary {
        negated: bool,
    },
    /// Stores the position in a register.
    Save(u32),
    /// Clears a range of registers.
    Clear {
        first: u32,
        end: u32,
    },
    /// Continues at the first label, and at the second if that fails.
    Split {
        first: Label,
        second: Label,
    },
    Jump(Label),
    Reference(u32),
    /// Runs the instructions up to the next `Match` as a search of its own, then continues at
    /// `next`.
    Look {
        behind: bool,
        negated: bool,
        next: Label,
    },
    /// Repeats the following instruction, which takes one unit, then continues after it.
    RepeatUnit {
        min: u32,
        max: u32,
        greedy: bool,
    },
    /// Starts a counter; falls through to its `Loop`.
    Enter {
        counter: u32,
    },
    /// Starts one more iteration at the next instruction, or leaves at `exit`. The register after
    /// the counter holds where the iteration started.
    Loop {
        counter: u32,
        min: u32,
        max: u32,
        greedy: bool,
        exit: Label,
    },
    /// Ends an iteration of the loop at `head`. An optional iteration that consumed nothing fails.
    Again {
        counter: u32,
        min: u32,
        head: Label,
    },
    Match,
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) ops: Box<[Op]>,
    pub(super) sets: Box<[FoldedSet]>,
    /// Two for each group, then two for each loop.
    pub(super) registers: usize,
}

impl Program {
    /// `None` if a reference names an unknown group.
    pub(super) fn compile(parsed: &Parsed) -> Option<Self> {
        let registers = parsed.groups * 2;
        let (ops, sets, known) = (Vec::new(), Vec::new(), HashMap::new());
        let mut compiler = Compiler { parsed, ops, sets, known, registers };
        compiler.node(&parsed.node, false)?;
        compiler.ops.push(Op::Match);
        Some(Self {
            ops: compiler.ops.into_boxed_slice(),
            sets: compiler.sets.into_boxed_slice(),
            registers: compiler.registers as usize,
        })
    }
}

struct Compiler<'a> {
    parsed: &'a Parsed,
    ops: Vec<Op>,
    sets: Vec<FoldedSet>,
    /// The index of each class that was already compiled.
    known: HashMap<(&'a Set, bool), u32>,
    registers: u32,
}

impl<'a> Compiler<'a> {
    fn next(&self) -> Label {
        Label::try_from(self.ops.len()).unwrap_or(Label::MAX)
    }

    /// Adds a placeholder that is completed later.
    fn hole(&mut self) -> usize {
        self.ops.push(Op::Match);
        self.ops.len() - 1
    }

    /// Compiles a node; inside a lookbehind it matches backwards.
    fn node(&mut self, node: &'a Node, backwards: bool) -> Option<()> {
        match node {
            Node::Empty => {}
            Node::Unit(unit) => self.ops.push(Op::Unit(fold(*unit))),
            Node::Class { set, negated } => self.class(set, *negated),
            Node::Start => self.ops.push(Op::Start),
            Node::End => self.ops.push(Op::End),
            Node::WordBoundary { negated } => self.ops.push(Op::WordBoundary { negated: *negated }),
            Node::Group { body, capture: None } => self.node(body, backwards)?,
            Node::Group { body, capture: Some(group) } => {
                let start = (group - 1) * 2;
                let (first, second) = if backwards { (start + 1, start) } else { (start, start + 1) };
                self.ops.push(Op::Save(first));
                self.node(body, backwards)?;
                self.ops.push(Op::Save(second));
            }
            Node::Alternatives(alternatives) => self.alternatives(alternatives, backwards)?,
            Node::Sequence(terms) if backwards => {
                terms.iter().rev().try_for_each(|term| self.node(term, true))?;
            }
            Node::Sequence(terms) => terms.iter().try_for_each(|term| self.node(term, false))?,
            Node::Look { body, behind, negated } => {
                let look = self.hole();
                self.node(body, *behind)?;
                self.ops.push(Op::Match);
                self.ops[look] = Op::Look { behind: *behind, negated: *negated, next: self.next() };
            }
            Node::Reference(group) => self.ops.push(Op::Reference(*group - 1)),
            Node::NamedReference(name) => {
                self.ops.push(Op::Reference(self.parsed.names.get(name)? - 1));
            }
            Node::Repeat { max: 0, .. } => {}
            Node::Repeat { body, min, max, greedy, .. }
                if matches!(**body, Node::Unit(_) | Node::Class { .. }) =>
            {
                self.ops.push(Op::RepeatUnit { min: *min, max: *max, greedy: *greedy });
                self.node(body, backwards)?;
            }
            Node::Repeat { body, min, max, greedy, captures } => {
                let counter = self.registers;
                self.registers += 2;
                self.ops.push(Op::Enter { counter });
                let head = self.hole();
                let (first, end) = *captures;
                if first < end {
                    self.ops.push(Op::Clear { first: (first - 1) * 2, end: (end - 1) * 2 });
                }
                self.node(body, backwards)?;
                let again =
                    Op::Again { counter, min: *min, head: Label::try_from(head).unwrap_or(Label::MAX) };
                self.ops.push(again);
                let exit = self.next();
                self.ops[head] = Op::Loop { counter, min: *min, max: *max, greedy: *greedy, exit };
            }
        }
        Some(())
    }

    fn alternatives(&mut self, alternatives: &'a [Node], backwards: bool) -> Option<()> {
        let mut jumps = Vec::new();
        let (last, others) = alternatives.split_last()?;
        for alternative in others {
            let split = self.hole();
            let first = self.next();
            self.node(alternative, backwards)?;
            jumps.push(self.hole());
            self.ops[split] = Op::Split { first, second: self.next() };
        }
        self.node(last, backwards)?;
        let end = self.next();
        for jump in jumps {
            self.ops[jump] = Op::Jump(end);
        }
        Some(())
    }

    fn class(&mut self, set: &'a Set, negated: bool) {
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let at = *self.known.entry((set, negated)).or_insert(next);
        if at == next {
            self.sets.push(set.clone().folded(negated));
        }
        self.ops.push(Op::Class(at));
    }
}

/// Whether another iteration is allowed.
pub(super) const fn below(count: u32, max: u32) -> bool {
    max == UNBOUNDED || count < max
}
