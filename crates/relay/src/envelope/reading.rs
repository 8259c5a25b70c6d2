//! The parser of a body: one pass without copies, because most of what a relay does for a request is this.

use std::borrow::Cow;

use super::{Around, Envelope, EventPart, Flaw, Summary, VisitorPart};

/// An object with more fields than this is not an envelope; also bounds the search for repeated names.
const MAX_FIELDS: usize = 32;
/// How deeply lists and objects may be nested in what the relay does not read.
const MAX_DEPTH: u32 = 64;
const OBJECT: &str = "must be a JSON object, with at most 32 fields and none twice";
const LIST: &str = "must be a list that is not empty";
const TEXT: &str = "must be a text that is not empty";
const MISSING: &str = "is missing";

const BODY: [&str; 3] = ["accountId", "projectId", "visitors"];
const VISITOR: [&str; 2] = ["visitorId", "events"];
const EVENT: [&str; 2] = ["eventType", "data"];

/// Parses a body.
pub(super) fn read(body: &[u8]) -> Result<Envelope<'_>, Flaw> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Flaw { path: String::new(), error: "must be UTF-8" });
    };
    let mut reading =
        Reading { text, at: 0, visitor: None, event: None, field: "", expects: OBJECT, events: Vec::new() };
    reading.body().ok_or_else(|| Flaw { path: reading.path(), error: reading.expects })
}

/// The text and how far it has been read; where in the envelope that is, and what must be there. A method that
/// returns `None` ends the parsing, with the place as it is.
struct Reading<'a> {
    text: &'a str,
    at: usize,
    visitor: Option<usize>,
    event: Option<usize>,
    field: &'static str,
    expects: &'static str,
    events: Vec<EventPart<'a>>,
}

/// The fields so far of an object that is being read: which of the expected ones, and the names of the others.
struct Fields<'a> {
    expected: &'static [&'static str],
    known: u32,
    others: Vec<Cow<'a, str>>,
    count: usize,
}

/// The next field of an object.
struct Field {
    /// Its place among the expected ones.
    known: Option<usize>,
    start: usize,
}

impl<'a> Reading<'a> {
    fn body(&mut self) -> Option<Envelope<'a>> {
        let (mut summary, mut visitors) = (Summary::default(), Vec::new());
        let (mut fields, start) = self.object(&BODY)?;
        let mut cut = start..start;
        while let Some(field) = self.field(&mut fields)? {
            match field.known {
                Some(0) => summary.account_id = self.id(BODY[0])?.into_owned(),
                Some(1) => summary.project_id = self.id(BODY[1])?.into_owned(),
                Some(_) => {
                    self.list(BODY[2])?;
                    for index in 0.. {
                        self.visitor = Some(index);
                        visitors.push(self.visitor()?);
                        if !self.goes_on(b']')? {
                            break;
                        }
                    }
                    self.visitor = None;
                    cut = field.start..self.at;
                }
                None => self.skip()?,
            }
        }
        let around = self.around(start, &cut)?;
        self.blanks();
        summary.events = self.events.len();
        summary.has_conversions = self.events.iter().any(|event| event.is_conversion);
        let events = std::mem::take(&mut self.events);
        (self.at == self.text.len()).then_some(Envelope { summary, around, visitors, events })
    }

    fn visitor(&mut self) -> Option<VisitorPart<'a>> {
        let mut id = Cow::default();
        let first = self.events.len();
        let (mut fields, start) = self.object(&VISITOR)?;
        let mut cut = start..start;
        while let Some(field) = self.field(&mut fields)? {
            match field.known {
                Some(0) => id = self.id(VISITOR[0])?,
                Some(_) => {
                    self.list(VISITOR[1])?;
                    for index in 0.. {
                        self.event = Some(index);
                        let event = self.event()?;
                        self.events.push(event);
                        if !self.goes_on(b']')? {
                            break;
                        }
                    }
                    self.event = None;
                    cut = field.start..self.at;
                }
                None => self.skip()?,
            }
        }
        let around = self.around(start, &cut)?;
        Some(VisitorPart { id, around, events: first..self.events.len() })
    }

    fn event(&mut self) -> Option<EventPart<'a>> {
        let (mut fields, start) = self.object(&EVENT)?;
        let mut is_conversion = false;
        while let Some(field) = self.field(&mut fields)? {
            match field.known {
                Some(0) => is_conversion = self.id(EVENT[0])? == "conversion",
                Some(_) => {
                    self.expect(EVENT[1], "must be an object");
                    (self.peek()? == b'{').then_some(())?;
                    self.skip()?;
                    self.expect("", OBJECT);
                }
                None => self.skip()?,
            }
        }
        Some(EventPart { text: self.text.get(start - 1..self.at)?, is_conversion })
    }

    /// Opens an object; its content starts at the returned place.
    fn object(&mut self, expected: &'static [&'static str]) -> Option<(Fields<'a>, usize)> {
        self.expect("", OBJECT);
        self.blanks();
        self.token(b'{')?;
        Some((Fields { expected, known: 0, others: Vec::new(), count: 0 }, self.at))
    }

    /// The next field, up to its value; nothing at the end of the object.
    fn field(&mut self, fields: &mut Fields<'a>) -> Option<Option<Field>> {
        if let Some(likely) = self.likely(fields) {
            return Some(Some(likely));
        }
        let count = fields.count;
        self.blanks();
        let is_empty = count == 0 && self.peek()? == b'}';
        if is_empty || (count > 0 && !self.goes_on(b'}')?) {
            self.at += usize::from(is_empty);
            let missing = (0..).zip(fields.expected).find(|(bit, _)| fields.known & (1 << bit) == 0);
            return match missing {
                Some((_, name)) => self.flawed(name, MISSING),
                None => Some(None),
            };
        }
        self.blanks();
        let start = self.at;
        let name = self.text()?;
        let known = fields.expected.iter().position(|expected| *expected == name);
        if known.is_none() {
            (!fields.others.contains(&name)).then(|| fields.others.push(name))?;
        }
        let bit = known.map_or(0, |known| 1 << known);
        if count == MAX_FIELDS || fields.known & bit != 0 {
            return None;
        }
        fields.known |= bit;
        fields.count += 1;
        self.colon()?;
        Some(Some(Field { known, start }))
    }

    /// The expected field that comes next in the SDKs' order, written as they write it: without blanks.
    fn likely(&mut self, fields: &mut Fields<'a>) -> Option<Field> {
        let known = fields.count;
        let name = fields.expected.get(known)?.as_bytes();
        let rest = self.text.as_bytes().get(self.at..)?;
        let separator = usize::from(known > 0);
        let rest = if separator > 0 { rest.strip_prefix(b",")? } else { rest };
        let value = rest.strip_prefix(b"\"")?.strip_prefix(name)?.strip_prefix(b"\":")?;
        if fields.known & (1 << known) != 0 || value.first()?.is_ascii_whitespace() {
            return None;
        }
        fields.known |= 1 << known;
        fields.count += 1;
        let start = self.at + separator;
        self.at = start + name.len() + 3;
        Some(Field { known: Some(known), start })
    }

    /// Opens a list, which must not be empty.
    fn list(&mut self, field: &'static str) -> Option<()> {
        self.expect(field, LIST);
        self.token(b'[')?;
        self.blanks();
        (self.peek()? != b']').then_some(())
    }

    /// Reads what follows an element: whether there is another one.
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        self.blanks();
        let found = self.peek()?;
        self.at += 1;
        (found == b',' || found == close).then_some(found == b',')
    }

    /// A text that is not empty, or a number as its text.
    fn id(&mut self, field: &'static str) -> Option<Cow<'a, str>> {
        let start = self.at;
        let id = if self.peek()?.is_ascii_digit() {
            self.number()?;
            Cow::Borrowed(self.text.get(start..self.at)?)
        } else {
            let Some(id) = self.text() else { return self.flawed(field, TEXT) };
            id
        };
        if id.is_empty() { self.flawed(field, TEXT) } else { Some(id) }
    }

    /// The object's fields except those in `cut`.
    fn around(&self, start: usize, cut: &std::ops::Range<usize>) -> Option<Around<'a>> {
        let blank = |c: char| c == ',' || c.is_ascii_whitespace();
        let before = self.text.get(start..cut.start)?.trim_matches(blank);
        let after = self.text.get(cut.end..self.at - 1)?.trim_matches(blank);
        Some(Around { before, after })
    }

    /// A string without its escapes.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let is_plain = self.string()?;
        if is_plain {
            return self.text.get(start + 1..self.at - 1).map(Cow::Borrowed);
        }
        serde_json::from_str(self.text.get(start..self.at)?).ok().map(Cow::Owned)
    }

    /// Skips a value, with the grammar of JSON.
    fn skip(&mut self) -> Option<()> {
        // What is open, innermost last: objects are 1, lists are 0.
        let (mut open, mut depth) = (0_u64, 0);
        loop {
            self.blanks();
            let first = self.peek()?;
            let mut has_content = false;
            match first {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    self.at += 1;
                    self.blanks();
                    has_content = self.peek()? != first + 2;
                    self.at += usize::from(!has_content);
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            if has_content {
                (depth < MAX_DEPTH).then_some(())?;
                (open, depth) = (open << 1 | u64::from(first == b'{'), depth + 1);
            } else {
                loop {
                    if depth == 0 {
                        return Some(());
                    }
                    if self.goes_on(if open & 1 == 1 { b'}' } else { b']' })? {
                        break;
                    }
                    (open, depth) = (open >> 1, depth - 1);
                }
            }
            if open & 1 == 1 {
                self.blanks();
                self.string()?;
                self.colon()?;
            }
        }
    }

    /// Skips a string; whether it has no escapes.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        let content = self.text.as_bytes().get(self.at..)?.strip_prefix(b"\"")?;
        let length = plain(content)?;
        if content.get(length) == Some(&b'"') {
            self.at += length + 2;
            return Some(true);
        }
        self.at += length + 1;
        self.escapes().map(|()| false)
    }

    /// Skips the rest of a string from its first backslash on.
    #[cold]
    fn escapes(&mut self) -> Option<()> {
        loop {
            self.token(b'\\')?;
            let escape = self.peek()?;
            self.at += 1;
            if escape == b'u' {
                let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                self.at += 4;
            } else {
                b"\"\\/bfnrt".contains(&escape).then_some(())?;
            }
            self.at += plain(self.text.as_bytes().get(self.at..)?)?;
            if self.token(b'"').is_some() {
                return Some(());
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.peek()? == b'-');
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek()?, b'+' | b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(literal).then_some(())?;
        self.at += literal.len();
        Some(())
    }

    fn colon(&mut self) -> Option<()> {
        self.blanks();
        self.token(b':')?;
        self.blanks();
        Some(())
    }

    fn token(&mut self, token: u8) -> Option<()> {
        (self.peek()? == token).then_some(())?;
        self.at += 1;
        Some(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn expect(&mut self, field: &'static str, expects: &'static str) {
        (self.field, self.expects) = (field, expects);
    }

    /// Ends the parsing at a field.
    const fn flawed<T>(&mut self, field: &'static str, expects: &'static str) -> Option<T> {
        self.expect(field, expects);
        None
    }

    fn path(&self) -> String {
        let mut path = Vec::new();
        for (name, index) in [("visitors", self.visitor), ("events", self.event)] {
            path.extend(index.map(|index| format!("{name}[{index}]")));
        }
        path.extend(Some(self.field.to_owned()).filter(|field| !field.is_empty()));
        path.join(".")
    }
}

/// How many bytes come before a quote, a backslash or a control character; eight at a time, as strings are most of
/// a body.
#[inline]
fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = ONES << 7;
    // The high bits of bytes below a bound, exact up to the first of them.
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut rest = bytes;
    while let Some((word, next)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let found = (equal(word, b'"') | equal(word, b'\\') | below(word, 0x20)) & HIGH_BITS;
        if found != 0 {
            return Some(bytes.len() - rest.len() + found.trailing_zeros() as usize / 8);
        }
        rest = next;
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    Some(bytes.len() - rest.len() + found)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    /// Values with every construct of JSON.
    const VALUES: &str =
        r#"[{},[],[ 1 , -0.5e+10,{"a" :[true,false,null]}],"\u00e9\n\"\\/\b",0,{"a":{"b":[[]]}},12E3]"#;

    fn skips(text: &str) -> bool {
        let mut reading =
            Reading { text, at: 0, visitor: None, event: None, field: "", expects: "", events: Vec::new() };
        reading.skip().is_some_and(|()| {
            reading.blanks();
            reading.at == text.len()
        })
    }

    #[test]
    fn what_is_skipped_is_what_serde_json_takes_for_json() {
        assert!(skips(VALUES));
        let mut wrong = 0;
        let is_json = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
        for at in 0..VALUES.len() {
            // Every text with one character left out, or another one in its place, or one more.
            for other in [
                "", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "1", ".", "-", "e", "u", "\n", "t",
                "\u{1}",
            ] {
                for end in [at, at + 1] {
                    let text = format!("{}{other}{}", &VALUES[..at], &VALUES[end..]);
                    assert_eq!(skips(&text), is_json(&text), "{text}");
                    wrong += usize::from(!is_json(&text));
                }
            }
            assert_eq!(skips(&VALUES[..at]), is_json(&VALUES[..at]), "{at}");
        }
        assert!(wrong > 1000, "{wrong}");
    }

    #[test]
    fn any_byte_that_ends_a_plain_string_is_found_anywhere() {
        for at in 0..20 {
            for byte in 0..=255 {
                let mut bytes = *b"plain \x7f \xff text\x80, long";
                bytes[at] = byte;
                let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
                assert_eq!(plain(&bytes), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(skips(&nested(64)));
        assert!(!skips(&nested(65)));
        assert!(!skips(&nested(1 << 20)));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
        assert!(skips(&objects));
    }
}
