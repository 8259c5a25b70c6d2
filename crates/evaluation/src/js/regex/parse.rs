//! The grammar of patterns without `u`, with the leniency of ECMAScript's Annex B.

use std::collections::HashMap;

use super::class::Set;

/// How deep groups may nest; bounds every recursion over a pattern.
pub(super) const DEEPEST: usize = 200;

/// The most groups that V8 accepts.
const MOST_GROUPS: u32 = 65_535;

#[derive(Debug)]
pub(super) enum Node {
    Empty,
    Unit(u16),
    Class {
        set: Set,
        negated: bool,
    },
    Start,
    End,
    WordBoundary {
        negated: bool,
    },
    Group {
        body: Box<Node>,
        capture: Option<u32>,
    },
    Alternatives(Vec<Node>),
    Sequence(Vec<Node>),
    Look {
        body: Box<Node>,
        behind: bool,
        negated: bool,
    },
    Reference(u32),
    NamedReference(Vec<u16>),
    /// `captures` are the groups inside the body, which each iteration resets.
    Repeat {
        body: Box<Node>,
        min: u32,
        max: u32,
        greedy: bool,
        captures: (u32, u32),
    },
}

/// A pattern that JavaScript accepts.
pub(super) struct Parsed {
    pub(super) node: Node,
    /// The number of capture groups, without the whole match.
    pub(super) groups: u32,
    /// The names of groups, with their numbers.
    pub(super) names: HashMap<Vec<u16>, u32>,
}

/// No upper bound.
pub(super) const UNBOUNDED: u32 = u32::MAX;

pub(super) struct Parser<'a> {
    pub(super) units: &'a [u16],
    pub(super) at: usize,
    depth: usize,
    /// Groups opened so far.
    opened: u32,
    /// Groups in the whole pattern, counted in advance: they decide what `\1` means.
    pub(super) groups: u32,
    /// Whether any group has a name, which decides what `\k` means.
    pub(super) named: bool,
    names: HashMap<Vec<u16>, u32>,
    /// The names referred to, possibly before their groups are defined.
    pub(super) referred: Vec<Vec<u16>>,
}

pub(super) fn parse(units: &[u16]) -> Option<Parsed> {
    let (groups, named) = count_groups(units);
    if groups > MOST_GROUPS {
        return None;
    }
    let (names, referred) = (HashMap::new(), Vec::new());
    let mut parser = Parser { units, at: 0, depth: 0, opened: 0, groups, named, names, referred };
    let node = parser.disjunction()?;
    let is_named = |name: &Vec<u16>| parser.names.contains_key(name);
    // Only an unmatched ")" ends a disjunction early.
    (parser.at == units.len() && parser.referred.iter().all(is_named)).then_some(Parsed {
        node,
        groups,
        names: parser.names,
    })
}

/// The number of capture groups, and whether any has a name.
fn count_groups(units: &[u16]) -> (u32, bool) {
    let (mut groups, mut named, mut in_class, mut at) = (0, false, false, 0);
    let is = |at: usize, wanted: u8| units.get(at) == Some(&u16::from(wanted));
    while at < units.len() {
        if is(at, b'\\') {
            at += 1;
        } else if is(at, b'[') {
            in_class = true;
        } else if is(at, b']') {
            in_class = false;
        } else if is(at, b'(') && !in_class {
            if !is(at + 1, b'?') {
                groups += 1;
            } else if is(at + 2, b'<') && !is(at + 3, b'=') && !is(at + 3, b'!') {
                groups += 1;
                named = true;
            }
        }
        at += 1;
    }
    (groups, named)
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<u16> {
        self.units.get(self.at).copied()
    }

    /// The next unit if it is ASCII.
    pub(super) fn peek_ascii(&self) -> Option<u8> {
        self.peek().and_then(|unit| u8::try_from(unit).ok()).filter(u8::is_ascii)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let rest = self.units.get(self.at..).unwrap_or_default();
        let eaten =
            rest.len() >= text.len() && rest.iter().zip(text.bytes()).all(|(a, b)| *a == u16::from(b));
        self.at += if eaten { text.len() } else { 0 };
        eaten
    }

    fn disjunction(&mut self) -> Option<Node> {
        let mut alternatives = vec![self.alternative()?];
        while self.eat("|") {
            alternatives.push(self.alternative()?);
        }
        if alternatives.len() == 1 { alternatives.pop() } else { Some(Node::Alternatives(alternatives)) }
    }

    fn alternative(&mut self) -> Option<Node> {
        let mut terms = Vec::new();
        while !matches!(self.peek_ascii(), Some(b'|' | b')')) && self.at < self.units.len() {
            terms.push(self.term()?);
        }
        match terms.len() {
            0 => Some(Node::Empty),
            1 => terms.pop(),
            _ => Some(Node::Sequence(terms)),
        }
    }

    fn term(&mut self) -> Option<Node> {
        let before = self.opened;
        let start = self.at;
        let Some(ascii) = self.peek_ascii() else {
            let unit = self.peek()?;
            self.at += 1;
            return self.quantified(Node::Unit(unit), before);
        };
        let atom = match ascii {
            b'^' => {
                self.at += 1;
                return Some(Node::Start);
            }
            b'$' => {
                self.at += 1;
                return Some(Node::End);
            }
            b'(' => {
                let node = self.group()?;
                // A lookahead can be quantified, a lookbehind cannot.
                if matches!(node, Node::Look { behind: true, .. }) {
                    return Some(node);
                }
                node
            }
            b'\\' => match self.units.get(self.at + 1).copied()? {
                0x62 | 0x42 => {
                    let negated = self.units[self.at + 1] == 0x42;
                    self.at += 2;
                    return Some(Node::WordBoundary { negated });
                }
                _ => {
                    self.at += 1;
                    self.atom_escape()?
                }
            },
            b'[' => self.class()?,
            b'.' => {
                self.at += 1;
                Node::Class { set: Set::dot(), negated: false }
            }
            b'*' | b'+' | b'?' => return None,
            // A brace is literal, unless it reads as a quantifier with nothing to repeat.
            b'{' if self.braces().is_some() => return None,
            _ => {
                self.at = start + 1;
                Node::Unit(u16::from(ascii))
            }
        };
        self.quantified(atom, before)
    }

    fn quantified(&mut self, atom: Node, before: u32) -> Option<Node> {
        let (min, max, end) = match self.peek_ascii() {
            Some(b'*') => (0, UNBOUNDED, self.at + 1),
            Some(b'+') => (1, UNBOUNDED, self.at + 1),
            Some(b'?') => (0, 1, self.at + 1),
            Some(b'{') => match self.braces() {
                Some(bounds) => bounds,
                None => return Some(atom),
            },
            _ => return Some(atom),
        };
        if min > max {
            return None;
        }
        self.at = end;
        let greedy = !self.eat("?");
        Some(Node::Repeat { body: Box::new(atom), min, max, greedy, captures: (before + 1, self.opened + 1) })
    }

    /// The bounds of `{2}`, `{2,}` or `{2,3}` and where it ends, if one comes next.
    fn braces(&self) -> Option<(u32, u32, usize)> {
        let (min, mut at) = self.decimal(self.at + 1)?;
        let mut max = min;
        if self.is(at, b',') {
            (max, at) = self.decimal(at + 1).unwrap_or((UNBOUNDED, at + 1));
        }
        self.is(at, b'}').then_some((min, max, at + 1))
    }

    pub(super) fn is(&self, at: usize, wanted: u8) -> bool {
        self.units.get(at) == Some(&u16::from(wanted))
    }

    /// A decimal number, capped at [`UNBOUNDED`], and where it ends.
    pub(super) fn decimal(&self, start: usize) -> Option<(u32, usize)> {
        let (mut value, mut at) = (0_u32, start);
        while let Some(digit) = self.units.get(at).and_then(|unit| digit_of(*unit, 10)) {
            value = value.saturating_mul(10).saturating_add(digit);
            at += 1;
        }
        (at > start).then_some((value, at))
    }

    fn group(&mut self) -> Option<Node> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let node = if self.eat("?:") {
            Node::Group { body: Box::new(self.disjunction()?), capture: None }
        } else if self.eat("?=") {
            Node::Look { body: Box::new(self.disjunction()?), behind: false, negated: false }
        } else if self.eat("?!") {
            Node::Look { body: Box::new(self.disjunction()?), behind: false, negated: true }
        } else if self.eat("?<=") {
            Node::Look { body: Box::new(self.disjunction()?), behind: true, negated: false }
        } else if self.eat("?<!") {
            Node::Look { body: Box::new(self.disjunction()?), behind: true, negated: true }
        } else {
            self.opened += 1;
            let capture = self.opened;
            if self.eat("?<") {
                let name = self.group_name()?;
                if self.names.insert(name, capture).is_some() {
                    return None;
                }
            } else if self.peek_ascii() == Some(b'?') {
                return None;
            }
            Node::Group { body: Box::new(self.disjunction()?), capture: Some(capture) }
        };
        self.depth -= 1;
        self.eat(")").then_some(node)
    }

    /// A group name, up to and including its `>`.
    pub(super) fn group_name(&mut self) -> Option<Vec<u16>> {
        let rest = self.units.get(self.at..)?;
        let length = rest.iter().position(|unit| *unit == u16::from(b'>'))?;
        let name = &rest[..length];
        for (position, character) in char::decode_utf16(name.iter().copied()).enumerate() {
            let character = character.ok()?;
            let starts = character.is_alphabetic() || matches!(character, '$' | '_');
            if !starts
                && (position == 0
                    || !(character.is_numeric() || matches!(character, '\u{200c}' | '\u{200d}')))
            {
                return None;
            }
        }
        self.at += length + 1;
        (length > 0).then(|| name.to_vec())
    }
}

pub(super) fn digit_of(unit: u16, radix: u32) -> Option<u32> {
    u8::try_from(unit).ok().and_then(|byte| char::from(byte).to_digit(radix))
}
