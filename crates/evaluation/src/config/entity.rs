//! The entities of a config in the shape in which they are evaluated. Ids and keys are cheap to
//! clone into events.

use std::sync::Arc;

use serde_json::Value;
use smol_str::SmolStr;

use super::index::{Index, position};
use super::layout::Layout;
use super::rules::RuleSet;
use crate::js::cast::VariableType;
use crate::murmur::Murmur3;

/// Where an entity stands in the served text.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What every entity has. A key that is not served is the text `undefined`, as in JavaScript.
pub(crate) trait Entity {
    fn id(&self) -> &str;
    fn key(&self) -> &str;
    fn span(&self) -> Span;
}

/// The entities of one kind in config order; lookups yield the first of a text.
pub(crate) struct Entities<T> {
    pub(super) list: Box<[T]>,
    by_key: Index,
    by_id: Index,
    /// For each entity the next one with its id; empty where no id stands twice. References name the
    /// first, so that they take the room of their text however many entities have one id.
    next_alike: Box<[u32]>,
}

/// An experience.
pub struct Experience {
    /// The id, as text.
    pub id: SmolStr,
    /// The key; `undefined` where none is served.
    pub key: SmolStr,
    /// Lists of keys name only what was served with a text.
    pub has_text_key: bool,
    /// The name.
    pub name: Option<SmolStr>,
    pub(crate) standing: Standing,
    /// The position of the first experience with this id, under which decisions are remembered.
    pub home: u32,
    pub(crate) environment: Environment,
    pub(crate) place: Place,
    pub(crate) audiences: AudienceCheck,
    /// Custom segments of which the visitor must have one, if there are any; the first of each id.
    pub(crate) segments: Box<[u32]>,
    /// Those of the first experience with this id, whichever of them this is.
    pub variations: Arc<[Variation]>,
    pub(crate) layout: Layout,
    /// The hash of what precedes the visitor id.
    pub(crate) hash: Murmur3,
    pub(super) span: Span,
}

/// Whether an experience decides at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Archived,
    /// Its id is `0`, `false` or empty, with which JavaScript decides nobody.
    NoId,
}

/// The environment in which an experience runs.
pub(crate) enum Environment {
    Any,
    Named(SmolStr),
    /// Something else than a text, as JavaScript would write it: no environment equals that.
    Nowhere(SmolStr),
}

/// Where an experience runs.
pub(crate) enum Place {
    Anywhere,
    /// At any of these locations and those alike; at none if the list is empty.
    Locations(Box<[u32]>),
    SiteArea(Box<RuleSet>),
}

/// The audiences of an experience, the first of each id by position; none means everybody.
pub(crate) struct AudienceCheck {
    pub(crate) audiences: Box<[u32]>,
    /// Whether all of them must match.
    pub(crate) all: bool,
}

/// A variation of an experience.
pub struct Variation {
    /// Empty, and so never found, where the config gives none or `null`.
    pub id: SmolStr,
    /// The key; empty where none is served.
    pub key: SmolStr,
    /// The name.
    pub name: Option<SmolStr>,
    /// The features that this variation carries, in the order of its changes.
    pub features: Box<[CarriedFeature]>,
    /// Where the experience stands, and which of its variations this is.
    pub(super) experience: Span,
    pub(super) at: u32,
}

/// A declared feature with the variables that a variation gives it.
pub struct CarriedFeature {
    /// The position of the feature.
    pub feature: u32,
    /// As [`Feature::group`].
    pub group: u32,
    /// In the order of their keys; `None` when the change has no variables at all.
    pub variables: Option<Box<[Variable]>>,
}

/// One variable of a carried feature.
pub struct Variable {
    /// The key.
    pub key: SmolStr,
    /// The value as its declared type, or as served where it cannot be cast.
    pub value: Value,
    /// The served value, where it differs; few casts change anything.
    pub(super) served: Option<Box<Value>>,
}

/// A declared feature.
pub struct Feature {
    /// The id, as text.
    pub id: SmolStr,
    /// The key; `undefined` where none is served.
    pub key: SmolStr,
    /// The name.
    pub name: Option<SmolStr>,
    /// By key, the first of each.
    pub(super) variables: Box<[(SmolStr, Option<VariableType>)]>,
    /// The position of the first feature with this key, by which all features with one key are asked
    /// for; [`NO_GROUP`](Self::NO_GROUP) where the key was not served as text.
    pub group: u32,
    /// Of the first of a group: the experiences with a variation that carries one of them, in the
    /// order in which they are decided.
    pub(super) carriers: Box<[u32]>,
    pub(super) span: Span,
}

/// A location, a segment or a goal.
pub struct RuledEntity {
    /// The id, as text.
    pub id: SmolStr,
    /// Whether the id is true to JavaScript, which overlooks goals and segments of any other.
    pub(crate) has_id: bool,
    /// The key; `undefined` where none is served.
    pub key: SmolStr,
    /// Lists of keys name only what was served with a text.
    pub(crate) has_text_key: bool,
    pub(crate) rules: Option<RuleSet>,
    pub(super) span: Span,
}

pub(crate) struct Audience {
    pub(crate) id: SmolStr,
    pub(crate) key: SmolStr,
    /// Not asked again of a visitor with a stored decision.
    pub(crate) permanent: bool,
    pub(crate) rules: RuleSet,
    pub(crate) exclusion: Option<Exclusion>,
    pub(super) span: Span,
}

/// Decides its audience alone, by the visitor's stored decision for another experience.
pub(crate) struct Exclusion {
    pub(crate) experience_key: SmolStr,
    /// `None` when no experience has the key: nobody is bucketed into it.
    pub(crate) experience: Option<u32>,
    pub(crate) negated: bool,
}

impl<T: Entity> Entities<T> {
    pub(super) fn new(list: Vec<T>) -> Self {
        let list = list.into_boxed_slice();
        let by_key = Index::build(list.iter().map(Entity::key));
        let by_id = Index::build(list.iter().map(Entity::id));
        let mut entities = Self { list, by_key, by_id, next_alike: Box::default() };
        entities.next_alike = entities.find_alike();
        entities
    }

    fn find_alike(&self) -> Box<[u32]> {
        let firsts = || self.list.iter().enumerate().map(|(at, entity)| (at, self.find_id(entity.id())));
        if firsts().all(|(at, first)| first == Some(at)) {
            return Box::default();
        }
        let mut next = vec![u32::MAX; self.list.len()];
        let mut last = vec![0; self.list.len()];
        for (at, first) in firsts() {
            let first = first.unwrap_or(at);
            if first != at {
                next[last[first]] = position(at);
            }
            last[first] = at;
        }
        next.into_boxed_slice()
    }

    /// The entities with the id of this one, which is their first, in config order.
    #[inline]
    pub(crate) fn alike(&self, first: u32) -> impl Iterator<Item = &T> {
        let mut at = first as usize;
        std::iter::from_fn(move || {
            let entity = self.list.get(at)?;
            at = self.next_alike.get(at).map_or(usize::MAX, |next| *next as usize);
            Some(entity)
        })
    }

    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.find(key, |position| self.list.get(position).map(Entity::key))
    }

    pub(crate) fn find_id(&self, id: &str) -> Option<usize> {
        self.by_id.find(id, |position| self.list.get(position).map(Entity::id))
    }
}

macro_rules! entities {
    ($($name:ty),+) => {$(
        impl Entity for $name {
            #[inline]
            fn id(&self) -> &str {
                &self.id
            }

            #[inline]
            fn key(&self) -> &str {
                &self.key
            }

            fn span(&self) -> Span {
                self.span
            }
        }
    )+};
}
entities!(Experience, Feature, RuledEntity, Audience);

impl Experience {
    /// The first variation with this id.
    #[must_use]
    pub fn variation_index(&self, id: &str) -> Option<usize> {
        let found = self.variations.iter().position(|variation| variation.id == id);
        found.filter(|_| !id.is_empty())
    }
}

impl Feature {
    /// Features whose key was not served as text.
    pub const NO_GROUP: u32 = u32::MAX;
}

impl Variable {
    /// The value as served.
    #[must_use]
    #[inline]
    pub fn uncast(&self) -> &Value {
        self.served.as_deref().unwrap_or(&self.value)
    }
}
