//! Rule sets in the form that is evaluated: operands lowercased, parsed and compiled once.

use std::fmt;
use std::ops::Range;

use ryu_js::Buffer;
use smol_str::SmolStr;

use super::index::position;
use super::shape::{ListWire, ObjectWire};
use super::wire::{ItemWire, OrWire, RulesWire};
use crate::attributes::{AttributeValue, Hint};
use crate::js::number::numeric_text;
use crate::js::regex::Pattern;
use crate::js::text::{has_text, is_white, lowered, text, truthy};

/// The rule type that asks whether the visitor is bucketed into another experience.
const EXCLUSION: &str = "bucketed_into_experience_key";

/// Any branch, all of its blocks, any item of each. An empty level is false, and so is one that was
/// not a list of objects.
///
/// The tree is flattened: each item knows where its outcome leads, always forward.
pub(crate) struct RuleSet {
    pub(crate) items: Box<[Item]>,
    pub(crate) start: Next,
}

/// Where an outcome leads: to the item at this position, or to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next(pub(crate) u32);

impl Next {
    /// The set matches.
    pub(crate) const MATCHED: Self = Self(u32::MAX);
    /// The set does not match.
    pub(crate) const MISSED: Self = Self(u32::MAX - 1);
}

impl Default for RuleSet {
    fn default() -> Self {
        Self { items: Box::default(), start: Next::MISSED }
    }
}

/// A condition that audiences share: its bit. 0 for any other condition.
pub(crate) type Shared = u32;

/// One comparison of one attribute.
pub(crate) struct Item {
    pub(crate) if_matched: Next,
    pub(crate) if_missed: Next,
    /// The indices of the branch, of its block and of the item in that block.
    pub(crate) place: [u32; 3],
    /// `None` if the served key is not a string: no attribute is found for such an item.
    pub(crate) key: Option<Box<str>>,
    pub(crate) hint: Hint,
    /// Set once all audiences are known.
    pub(crate) shared: Shared,
    pub(crate) negated: bool,
    pub(crate) match_type: MatchType,
    /// The JSON type of the served value, for explanations.
    pub(crate) operand_type: &'static str,
    pub(crate) test: Test,
}

/// What an item asks of the attribute.
pub(crate) enum Test {
    /// The operand in lower case, and as served.
    Equals(Box<str>, Box<EqualsOperand>),
    /// `equals` with an operand that has no string form: no list contains it, and nothing else
    /// equals it.
    EqualsNothing,
    Order(Operand),
    OrderOrEqual(Operand),
    /// `contains` with an operand of only white space.
    Anything,
    Contains(Box<str>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    IsIn(Box<[Box<str>]>),
    Regex(Box<Pattern>),
    Exists,
    DoesNotExist,
    /// False even when negated: the item or its pattern is malformed.
    Never(Flaw),
}

/// Why an item can never be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    NotAnObject,
    Matching,
    Negated,
    Value,
    MatchType,
    Pattern,
    NoText,
}

pub(crate) struct EqualsOperand {
    /// The operand as a string in its original case, which object keys are compared with.
    pub(crate) exact: Box<str>,
    pub(crate) value: AttributeValue,
}

/// The right side of `less` and `lessEqual`.
pub(crate) enum Operand {
    Number(f64),
    Bool(bool),
    Text(Box<str>),
    /// `null`, a list or an object, which JavaScript treats as one type.
    Object(Box<AttributeValue>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MatchType {
    Equals,
    EqualsNumber,
    Matches,
    Less,
    LessEqual,
    Contains,
    StartsWith,
    EndsWith,
    IsIn,
    RegexMatches,
    Exists,
    NotExists,
    DoesNotExist,
    Unknown,
}

/// An audience that excludes, or requires, visitors of another experience.
pub(crate) struct ExclusionWire {
    pub(crate) experience_key: SmolStr,
    pub(crate) negated: bool,
}

impl MatchType {
    fn named(name: &str) -> Self {
        match name {
            "equals" => Self::Equals,
            "equalsNumber" => Self::EqualsNumber,
            "matches" => Self::Matches,
            "less" => Self::Less,
            "lessEqual" => Self::LessEqual,
            "contains" => Self::Contains,
            "startsWith" => Self::StartsWith,
            "endsWith" => Self::EndsWith,
            "isIn" => Self::IsIn,
            "regexMatches" => Self::RegexMatches,
            "exists" => Self::Exists,
            "not_exists" => Self::NotExists,
            "doesNotExist" => Self::DoesNotExist,
            _ => Self::Unknown,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::EqualsNumber => "equalsNumber",
            Self::Matches => "matches",
            Self::Less => "less",
            Self::LessEqual => "lessEqual",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::IsIn => "isIn",
            Self::RegexMatches => "regexMatches",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
            Self::DoesNotExist => "doesNotExist",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the type has an answer for an absent attribute; all others are then false, negated
    /// or not. `not_exists`, of all types, is one of those.
    pub(crate) const fn answers_for_absent(self) -> bool {
        matches!(self, Self::Exists | Self::DoesNotExist)
    }
}

impl RuleSet {
    pub(super) fn compile(rules: RulesWire) -> Self {
        let mut items: Vec<Item> = Vec::new();
        // The items of each block of each branch, as ranges of the flat list.
        let mut branches: Vec<Vec<Range<usize>>> = Vec::new();
        for branch in objects(rules.set.map(|set| set.branches)) {
            let mut blocks = Vec::new();
            for block in objects(branch.map(|branch| branch.branches)) {
                let first = items.len();
                for (at, item) in objects(block.map(|block| block.items)).enumerate() {
                    items.push(Item::compile(item, [branches.len(), blocks.len(), at].map(position)));
                }
                blocks.push(first..items.len());
            }
            branches.push(blocks);
        }
        // Backwards, so that what follows is known.
        let mut start = Next::MISSED;
        for blocks in branches.iter().rev() {
            let next_branch = start;
            // A branch without blocks does not match.
            let mut next_block = if blocks.is_empty() { next_branch } else { Next::MATCHED };
            for block in blocks.iter().rev() {
                let mut next_item = next_branch;
                for (at, item) in items[block.clone()].iter_mut().enumerate().rev() {
                    (item.if_matched, item.if_missed) = (next_block, next_item);
                    next_item = Next(position(block.start + at));
                }
                next_block = next_item;
            }
            start = next_block;
        }
        Self { items: items.into_boxed_slice(), start }
    }

    /// The items that never match, with their paths, for warnings.
    pub(super) fn flaws(&self) -> impl Iterator<Item = (ItemPath, Flaw)> {
        self.items.iter().filter_map(|item| match item.test {
            Test::Never(flaw) => Some((ItemPath(item.place), flaw)),
            _ => None,
        })
    }
}

/// The path of an item in its rule set, as text.
pub(crate) struct ItemPath(pub(crate) [u32; 3]);

impl fmt::Display for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [or, and, item] = self.0;
        write!(f, "OR[{or}].AND[{and}].OR_WHEN[{item}]")
    }
}

fn objects<T>(list: Option<ListWire<ObjectWire<T>>>) -> impl Iterator<Item = Option<T>> {
    list.unwrap_or_default().into_vec().into_iter().map(|ObjectWire(object)| object)
}

/// The first exclusion item of the tree, which settles its audience alone. Only the rule type
/// counts: the item itself is not checked.
pub(super) fn exclusion(set: &OrWire) -> Option<ExclusionWire> {
    let items =
        each(&set.branches).flat_map(|branch| each(&branch.branches)).flat_map(|block| each(&block.items));
    let is_exclusion = |item: &&ItemWire| matches!(&item.rule_type.0, Some(AttributeValue::String(kind)) if kind == EXCLUSION);
    items.into_iter().find(is_exclusion).map(|item| {
        let negated = item.matching.0.as_ref().and_then(|matching| matching.negated.0.as_ref());
        let experience_key = item.value.text_or_undefined();
        ExclusionWire { experience_key, negated: negated.is_some_and(truthy) }
    })
}

fn each<T>(list: &ListWire<ObjectWire<T>>) -> impl Iterator<Item = &T> {
    let items: &[ObjectWire<T>] = match list {
        ListWire::Items(items) => items,
        ListWire::Absent | ListWire::Blank | ListWire::NotAList => &[],
    };
    items.iter().filter_map(|ObjectWire(object)| object.as_ref())
}

impl Item {
    /// Its jumps are filled in when the whole set is known.
    fn compile(item: Option<ItemWire>, place: [u32; 3]) -> Self {
        let (if_matched, if_missed) = (Next::MISSED, Next::MISSED);
        let Some(item) = item else {
            return Self {
                if_matched,
                if_missed,
                place,
                key: None,
                hint: Hint::default(),
                shared: 0,
                negated: false,
                match_type: MatchType::Unknown,
                operand_type: "absent",
                test: Test::Never(Flaw::NotAnObject),
            };
        };
        let key = match item.key.0 {
            Some(AttributeValue::String(key)) => Some(key.as_str().into()),
            _ => None,
        };
        let operand_type = item.value.0.as_ref().map_or("absent", AttributeValue::type_name);
        let (match_type, negated) = match item.matching.0 {
            Some(matching) => (matching.match_type.0, matching.negated.0),
            None => (None, None),
        };
        let (negated, match_type, test) = match (match_type, negated) {
            (Some(AttributeValue::String(name)), Some(AttributeValue::Bool(negated))) => {
                let match_type = MatchType::named(&name);
                (negated, match_type, Test::compile(match_type, item.value.0))
            }
            (Some(AttributeValue::String(name)), _) => {
                (false, MatchType::named(&name), Test::Never(Flaw::Negated))
            }
            _ => (false, MatchType::Unknown, Test::Never(Flaw::Matching)),
        };
        let (hint, shared) = (Hint::default(), 0);
        Self { if_matched, if_missed, place, key, hint, shared, negated, match_type, operand_type, test }
    }
}

impl Test {
    fn compile(match_type: MatchType, value: Option<AttributeValue>) -> Self {
        match match_type {
            MatchType::Exists => return Self::Exists,
            MatchType::DoesNotExist => return Self::DoesNotExist,
            _ => {}
        }
        let Some(value) = value else { return Self::Never(Flaw::Value) };
        if !has_text(&value) {
            match (match_type, &value) {
                (MatchType::Equals | MatchType::EqualsNumber | MatchType::Matches, _) => {
                    return Self::EqualsNothing;
                }
                // These ignore the operand's string form.
                (MatchType::NotExists | MatchType::Unknown, _)
                | (MatchType::IsIn, AttributeValue::Object(_)) => {}
                _ => return Self::Never(Flaw::NoText),
            }
        }
        let mut buffer = Buffer::new();
        let exact = match &value {
            AttributeValue::String(text) => text.clone(),
            other => SmolStr::from(text(other, &mut buffer)),
        };
        let lower = || Box::from(lowered(&exact));
        match match_type {
            MatchType::Equals | MatchType::EqualsNumber | MatchType::Matches => {
                Self::Equals(lower(), Box::new(EqualsOperand { exact: exact.as_str().into(), value }))
            }
            MatchType::Less => Self::Order(Operand::compile(value)),
            MatchType::LessEqual => Self::OrderOrEqual(Operand::compile(value)),
            MatchType::Contains if exact.chars().all(is_white) => Self::Anything,
            MatchType::Contains => Self::Contains(lower()),
            MatchType::StartsWith => Self::StartsWith(lower()),
            MatchType::EndsWith => Self::EndsWith(lower()),
            MatchType::IsIn => {
                let mut elements: Vec<Box<str>> = match &value {
                    AttributeValue::String(list) => list.split('|').map(|one| lowered(one).into()).collect(),
                    AttributeValue::Array(values) => {
                        let mut buffer = Buffer::new();
                        values.iter().map(|one| lowered(&text(one, &mut buffer)).into()).collect()
                    }
                    _ => Vec::new(),
                };
                elements.sort_unstable();
                elements.dedup();
                Self::IsIn(elements.into_boxed_slice())
            }
            MatchType::RegexMatches => match Pattern::compile(&exact) {
                Some(pattern) => Self::Regex(Box::new(pattern)),
                None => Self::Never(Flaw::Pattern),
            },
            MatchType::Exists => Self::Exists,
            // They differ only for an absent attribute, which is handled before the test.
            MatchType::NotExists | MatchType::DoesNotExist => Self::DoesNotExist,
            MatchType::Unknown => Self::Never(Flaw::MatchType),
        }
    }
}

impl Test {
    /// Whether the test needs the attribute's string form.
    pub(crate) const fn asks_for_text(&self, value: &AttributeValue) -> bool {
        match self {
            // List elements and object keys are compared as they are.
            Self::Equals(..) | Self::EqualsNothing => {
                !matches!(value, AttributeValue::Array(_) | AttributeValue::Object(_))
            }
            Self::Exists | Self::DoesNotExist | Self::Never(_) => false,
            _ => true,
        }
    }
}

impl Operand {
    fn compile(value: AttributeValue) -> Self {
        match value {
            AttributeValue::Number(number) => Self::Number(number),
            AttributeValue::Bool(value) => Self::Bool(value),
            AttributeValue::String(text) => {
                numeric_text(&text).map_or_else(|| Self::Text(text.as_str().into()), Self::Number)
            }
            other => Self::Object(Box::new(other)),
        }
    }
}

impl Flaw {
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::NotAnObject => "the item is not an object",
            Self::Matching => "`matching.match_type` is missing or not text",
            Self::Negated => "`matching.negated` is missing or not a boolean",
            Self::Value => "`value` is missing",
            Self::MatchType => "the match type is unknown",
            Self::Pattern => "the regular expression is not valid",
            Self::NoText => "`value` has a `toString` of its own, so it has no text",
        }
    }
}
