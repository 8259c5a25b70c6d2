//! Escapes and classes, which is where Annex B is most lenient.

use super::class::Set;
use super::parse::{Node, Parser, digit_of};

impl Parser<'_> {
    /// What follows a backslash outside a class.
    pub(super) fn atom_escape(&mut self) -> Option<Node> {
        let Some(ascii) = self.peek_ascii() else {
            let unit = self.peek()?;
            self.at += 1;
            return Some(Node::Unit(unit));
        };
        if let Some(set) = Set::escape(ascii) {
            self.at += 1;
            return Some(Node::Class { set, negated: false });
        }
        if matches!(ascii, b'1'..=b'9') {
            let (number, end) = self.decimal(self.at)?;
            if number <= self.groups {
                self.at = end;
                return Some(Node::Reference(number));
            }
        }
        if ascii == b'k' && self.named {
            self.at += 1;
            let name = if self.eat("<") { self.group_name()? } else { return None };
            self.referred.push(name.clone());
            return Some(Node::NamedReference(name));
        }
        self.character_escape(false).map(Node::Unit)
    }

    /// An escape that stands for one unit, from the letter after the backslash.
    fn character_escape(&mut self, in_class: bool) -> Option<u16> {
        let unit = self.peek()?;
        self.at += 1;
        let Ok(ascii) = u8::try_from(unit) else { return Some(unit) };
        Some(match ascii {
            b'f' => 0xc,
            b'n' => 0xa,
            b'r' => 0xd,
            b't' => 0x9,
            b'v' => 0xb,
            b'c' => {
                let letter = self.peek_ascii().filter(|letter| {
                    letter.is_ascii_alphabetic() || (in_class && (letter.is_ascii_digit() || *letter == b'_'))
                });
                match letter {
                    Some(letter) => {
                        self.at += 1;
                        u16::from(letter % 32)
                    }
                    // The backslash stands for itself and the "c" is parsed again.
                    None => {
                        self.at -= 1;
                        u16::from(b'\\')
                    }
                }
            }
            b'0'..=b'7' => self.octal(u16::from(ascii - b'0')),
            b'x' => self.hexadecimal(2).unwrap_or(unit),
            b'u' => self.hexadecimal(4).unwrap_or(unit),
            b'k' if self.named => return None,
            _ => unit,
        })
    }

    /// Up to two more octal digits, while the value stays below 256.
    fn octal(&mut self, mut value: u16) -> u16 {
        for _ in 0..2 {
            match self.peek().and_then(|unit| digit_of(unit, 8)).and_then(|digit| u16::try_from(digit).ok()) {
                Some(digit) if value < 32 => {
                    value = value * 8 + digit;
                    self.at += 1;
                }
                _ => break,
            }
        }
        value
    }

    fn hexadecimal(&mut self, length: usize) -> Option<u16> {
        let digits = self.units.get(self.at..self.at + length)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + digit_of(*digit, 16)?;
        }
        self.at += length;
        u16::try_from(value).ok()
    }

    pub(super) fn class(&mut self) -> Option<Node> {
        self.at += 1;
        let negated = self.eat("^");
        let mut set = Set::default();
        while !self.eat("]") {
            let first = self.class_atom()?;
            if self.peek_ascii() != Some(b'-') || self.is(self.at + 1, b']') {
                add(&mut set, &first);
                continue;
            }
            // A "-" before the end of the pattern does not make a range, and the class is still not
            // closed.
            self.at += 1;
            let last = self.class_atom()?;
            match (&first, &last) {
                (ClassAtom::Unit(first), ClassAtom::Unit(last)) if first <= last => set.add(*first, *last),
                (ClassAtom::Unit(_), ClassAtom::Unit(_)) => return None,
                // With a set on either side the dash is a member itself.
                _ => {
                    add(&mut set, &first);
                    add(&mut set, &last);
                    set.add(u16::from(b'-'), u16::from(b'-'));
                }
            }
        }
        Some(Node::Class { set, negated })
    }

    fn class_atom(&mut self) -> Option<ClassAtom> {
        let unit = self.peek()?;
        self.at += 1;
        if unit != u16::from(b'\\') {
            return Some(ClassAtom::Unit(unit));
        }
        let letter = self.peek()?;
        if let Some(set) = u8::try_from(letter).ok().and_then(Set::escape) {
            self.at += 1;
            return Some(ClassAtom::Set(set));
        }
        if letter == u16::from(b'b') {
            self.at += 1;
            return Some(ClassAtom::Unit(0x8));
        }
        self.character_escape(true).map(ClassAtom::Unit)
    }
}

enum ClassAtom {
    Unit(u16),
    Set(Set),
}

fn add(set: &mut Set, atom: &ClassAtom) {
    match atom {
        ClassAtom::Unit(unit) => set.add(*unit, *unit),
        ClassAtom::Set(other) => set.add_set(other),
    }
}
