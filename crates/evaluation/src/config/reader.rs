//! Reads a config part by part and collects warnings.

use std::fmt::Arguments;

use serde::Deserialize;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::entity::Span;
use super::index::position;
use super::layout::CompileOptions;
use super::rules::RuleSet;
use super::shape::{ListWire, ObjectWire, ValueWire};
use super::warning::{ConfigError, ConfigWarning, Quoted};
use super::wire::RulesWire;

/// How many warnings of one config are kept; the rest are only counted.
pub(super) const WARNINGS_TOLD: usize = 10;

/// A config text and its warnings so far.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) options: &'a CompileOptions,
    pub(super) warnings: Vec<ConfigWarning>,
    pub(super) more_warnings: usize,
}

impl<'a> Reader<'a> {
    /// Compiles the entities of one section and leaves out those that cannot be.
    pub(super) fn each<T>(
        &mut self,
        section: &str,
        raws: &[&'a RawValue],
        compile: impl Fn(&mut Self, Arguments<'_>, &'a RawValue) -> Option<T>,
    ) -> Vec<T> {
        let with_path = raws.iter().enumerate();
        with_path.filter_map(|(at, raw)| compile(self, format_args!("{section}[{at}]"), raw)).collect()
    }

    /// The items of a section. Anything that JavaScript does not treat as a list is empty, with a
    /// warning.
    pub(super) fn listed(
        &mut self,
        list: ListWire<&'a RawValue>,
        section: &'static str,
    ) -> Result<Vec<&'a RawValue>, ConfigError> {
        match list {
            ListWire::Items(items) => return Ok(items),
            ListWire::NotAList => return Err(ConfigError::ListExpected(section)),
            ListWire::Blank => {
                self.warn(format_args!("{section}"), format_args!("read as empty: it is not a list"));
            }
            ListWire::Absent => {}
        }
        Ok(Vec::new())
    }

    pub(super) fn rules(&mut self, path: Arguments<'_>, rules: RulesWire) -> RuleSet {
        let set = RuleSet::compile(rules);
        for (item, flaw) in set.flaws() {
            self.warn(format_args!("{path}.{item}"), format_args!("never matches: {}", flaw.message()));
        }
        set
    }

    pub(super) fn read<T: Deserialize<'a>>(&mut self, path: Arguments<'_>, raw: &'a RawValue) -> Option<T> {
        match serde_json::from_str::<ObjectWire<T>>(raw.get()) {
            Ok(ObjectWire(Some(wire))) => return Some(wire),
            Ok(ObjectWire(None)) => self.warn(path, format_args!("not used: it is not an object")),
            Err(error) => self.warn(path, format_args!("not used: {error}")),
        }
        None
    }

    /// Keeps the first warnings and counts the rest: a config of nothing but flaws has one every
    /// few bytes.
    pub(super) fn warn(&mut self, path: Arguments<'_>, message: Arguments<'_>) {
        if self.warnings.len() < WARNINGS_TOLD {
            self.warnings.push(ConfigWarning::new(path.to_string(), message.to_string()));
        } else {
            self.more_warnings += 1;
        }
    }

    pub(super) fn id(&mut self, path: Arguments<'_>, id: &ValueWire) -> Option<SmolStr> {
        let id = id.non_null_text();
        if id.is_none() {
            self.warn(path, format_args!("not used: it has no `id`"));
        }
        id
    }

    /// The entities of each kind that a list of ids names, in config order: the first of each id, by `find`. Warns of an
    /// id that names none.
    pub(super) fn named<const KINDS: usize>(
        &mut self,
        path: Arguments<'_>,
        ids: &[ValueWire],
        message: &str,
        find: impl Fn(&str) -> [Option<usize>; KINDS],
    ) -> [Box<[u32]>; KINDS] {
        let mut named = [const { Vec::new() }; KINDS];
        for (at, id) in ids.iter().enumerate() {
            let Some(id) = id.text() else { continue };
            let found = find(&id);
            if found.iter().all(Option::is_none) {
                self.warn(format_args!("{path}[{at}]"), format_args!("{message} {}", Quoted(&id)));
            }
            named.iter_mut().zip(found).for_each(|(named, found)| named.extend(found.map(position)));
        }
        named.map(|mut positions| {
            positions.sort_unstable();
            positions.dedup();
            positions.into_boxed_slice()
        })
    }

    pub(super) fn span(&self, raw: &'a RawValue) -> Span {
        // The value borrows from the text, so the difference of the addresses is its offset.
        let start = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        Span { start: position(start), end: position(start + raw.get().len()) }
    }
}
