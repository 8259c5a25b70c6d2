//! The entities of a config in the form that is evaluated. Ids and keys are cheap to clone into
//! events.

use std::sync::Arc;

use serde_json::Value;
use smol_str::SmolStr;

use super::index::{Index, position};
use super::layout::Layout;
use super::rules::RuleSet;
use crate::js::cast::VariableType;
use crate::murmur::Murmur3;

/// Where an entity is in the served text.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What every entity has. A missing key becomes `undefined`, as in JavaScript.
pub(crate) trait Entity {
    fn id(&self) -> &str;
    fn key(&self) -> &str;
    fn span(&self) -> Span;
}

/// The entities of one kind in config order; a lookup finds the first with an id or key.
pub(crate) struct Entities<T> {
    pub(super) list: Box<[T]>,
    by_key: Index,
    by_id: Index,
    /// For each entity the next one with the same id; empty if all ids are unique. References name
    /// only the first, so their size does not grow with the number of duplicates.
    next_alike: Box<[u32]>,
}

/// An experience.
pub struct Experience {
    /// The id, as text.
    pub id: SmolStr,
    /// The key; `undefined` if the config has none.
    pub key: SmolStr,
    /// Whether the key was served as a string; lists of keys match no other.
    pub has_text_key: bool,
    /// The name.
    pub name: Option<SmolStr>,
    pub(crate) standing: Standing,
    /// The position of the first experience with this id, under which decisions are stored.
    pub home: u32,
    pub(crate) environment: Environment,
    pub(crate) place: Place,
    pub(crate) audiences: AudienceCheck,
    /// The custom segments of which the visitor needs one, if there are any; the first of each id.
    pub(crate) segments: Box<[u32]>,
    /// Those of the first experience with this id.
    pub variations: Arc<[Variation]>,
    pub(crate) layout: Layout,
    /// The hash state before the visitor id.
    pub(crate) hash: Murmur3,
    pub(super) span: Span,
}

/// Whether an experience can be decided at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Archived,
    /// Its id is `0`, `false` or empty, which the JavaScript SDK never decides.
    NoId,
}

/// The environment in which an experience runs.
pub(crate) enum Environment {
    Any,
    Named(SmolStr),
    /// Not a string: its JavaScript string form, which equals no environment.
    Nowhere(SmolStr),
}

/// Where an experience runs.
pub(crate) enum Place {
    Anywhere,
    /// Any of these locations and their duplicates; none if the list is empty.
    Locations(Box<[u32]>),
    SiteArea(Box<RuleSet>),
}

/// The audiences of an experience by position, the first of each id; an empty list passes everyone.
pub(crate) struct AudienceCheck {
    pub(crate) audiences: Box<[u32]>,
    /// Whether all of them must match.
    pub(crate) all: bool,
}

/// A variation of an experience.
pub struct Variation {
    /// Empty, and so never found, if the config has none or `null`.
    pub id: SmolStr,
    /// The key; empty if the config has none.
    pub key: SmolStr,
    /// The name.
    pub name: Option<SmolStr>,
    /// The features that this variation carries, in the order of its changes.
    pub features: Box<[CarriedFeature]>,
    /// Where the experience is in the text, and the index of the variation in it.
    pub(super) experience: Span,
    pub(super) at: u32,
}

/// A declared feature with the values that a variation gives its variables.
pub struct CarriedFeature {
    /// The position of the feature.
    pub feature: u32,
    /// See [`Feature::group`].
    pub group: u32,
    /// Sorted by key; `None` if the change has no variables at all.
    pub variables: Option<Box<[Variable]>>,
}

/// One variable of a carried feature.
pub struct Variable {
    /// The key.
    pub key: SmolStr,
    /// The value as its declared type, or as served if it cannot be cast.
    pub value: Value,
    /// The served value if the cast changed it, which is rare.
    pub(super) served: Option<Box<Value>>,
}

/// A declared feature.
pub struct Feature {
    /// The id, as text.
    pub id: SmolStr,
    /// The key; `undefined` if the config has none.
    pub key: SmolStr,
    /// The name.
    pub name: Option<SmolStr>,
    /// Sorted by key; the first of a duplicate key.
    pub(super) variables: Box<[(SmolStr, Option<VariableType>)]>,
    /// The position of the first feature with this key, which stands for all of them;
    /// [`NO_GROUP`](Self::NO_GROUP) if the key was not served as a string.
    pub group: u32,
    /// For the first of a group: the experiences with a variation that carries any of the group, in
    /// the order in which they are decided.
    pub(super) carriers: Box<[u32]>,
    pub(super) span: Span,
}

/// A location, a segment or a goal.
pub struct RuledEntity {
    /// The id, as text.
    pub id: SmolStr,
    /// Whether the id is truthy in JavaScript, which ignores goals and segments with any other.
    pub(crate) has_id: bool,
    /// The key; `undefined` if the config has none.
    pub key: SmolStr,
    /// Whether the key was served as a string; lists of keys match no other.
    pub(crate) has_text_key: bool,
    pub(crate) rules: Option<RuleSet>,
    pub(super) span: Span,
}

pub(crate) struct Audience {
    pub(crate) id: SmolStr,
    pub(crate) key: SmolStr,
    /// Not checked again for a visitor with a stored decision.
    pub(crate) permanent: bool,
    pub(crate) rules: RuleSet,
    pub(crate) exclusion: Option<Exclusion>,
    pub(super) span: Span,
}

/// The visitor's decision for another experience settles the audience alone.
pub(crate) struct Exclusion {
    pub(crate) experience_key: SmolStr,
    /// `None` if no experience has the key: nobody is bucketed into it.
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

    /// The entities with the id of `first`, which is the first of them, in config order.
    #[inline]
    pub(crate) fn alike(&self, first: u32) -> impl Iterator<Item = &T> {
        let mut at = first as usize;
        std::iter::from_fn(move || {
            let entity = self.list.get(at)?;
            at = self.next_alike.get(at).map_or(usize::MAX, |next| *next as usize);
            Some(entity)
        })
    }

    /// The number of distinct ids.
    pub(super) fn distinct(&self) -> usize {
        let is_first = |(at, entity): &(usize, &T)| self.find_id(entity.id()) == Some(*at);
        self.list.iter().enumerate().filter(is_first).count()
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
    /// The group of a feature whose key was not served as a string.
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
