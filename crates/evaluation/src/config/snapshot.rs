//! The compiled config: immutable, shared by all evaluations until the next one replaces it.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;
use smol_str::SmolStr;

use super::entity::{Audience, Entities, Entity, Experience, Feature, RuledEntity, Span, Variation};
use super::kind::EntityKind;
use super::layout::CompileOptions;
use super::wire::VariationsWire;

/// One compiled config. It never changes; a refresh publishes a new one.
pub struct ConfigSnapshot {
    pub(super) serial: u32,
    /// The experiences to decide when all are requested, in config order: a duplicate key means the
    /// first experience each time, as in the official SDK.
    pub(super) keyed: Box<[u32]>,
    pub(super) text: Box<str>,
    pub(super) account_id: SmolStr,
    pub(super) project_id: SmolStr,
    pub(super) experiences: Entities<Experience>,
    pub(super) audiences: Entities<Audience>,
    pub(super) locations: Entities<RuledEntity>,
    pub(super) segments: Entities<RuledEntity>,
    pub(super) features: Entities<Feature>,
    pub(super) goals: Entities<RuledEntity>,
    /// The bucketing options.
    pub(super) bucketing: CompileOptions,
    /// Whether its experiences and features were removed, see [`SnapshotExt::withdrawn`].
    pub(super) withdrawn: bool,
}

/// How many entities of each kind a config holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct EntityCounts {
    /// Experiences.
    pub experiences: usize,
    /// Audiences.
    pub audiences: usize,
    /// Locations.
    pub locations: usize,
    /// Custom segments.
    pub segments: usize,
    /// Features.
    pub features: usize,
    /// Goals.
    pub goals: usize,
}

/// What a new config changes, per kind of entity. Entities are matched by id and compared as
/// JSON values, whatever the order of their fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ConfigChanges {
    /// Experiences, with their variations.
    pub experiences: ChangeCounts,
    /// Audiences.
    pub audiences: ChangeCounts,
    /// Locations.
    pub locations: ChangeCounts,
    /// Custom segments.
    pub segments: ChangeCounts,
    /// Features.
    pub features: ChangeCounts,
    /// Goals.
    pub goals: ChangeCounts,
}

/// How many entities of one kind changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ChangeCounts {
    /// In the new config only.
    pub added: usize,
    /// In the previous config only.
    pub removed: usize,
    /// In both, with different content.
    pub changed: usize,
}

impl ConfigChanges {
    /// Whether no entity was added, removed or changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether at most a third of the previous config's experiences are gone; `config` is the new
    /// one.
    #[must_use]
    pub fn keeps_two_thirds(&self, config: &ConfigSnapshot) -> bool {
        let ChangeCounts { added, removed, .. } = self.experiences;
        let before = (config.experiences.distinct() + removed).saturating_sub(added);
        removed.saturating_mul(3) <= before
    }
}

impl ConfigSnapshot {
    /// The account that the config belongs to.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The project that the config belongs to.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// The JSON text, as served. A snapshot keeps it anyway, so this costs nothing.
    #[must_use]
    pub fn served_text(&self) -> &str {
        &self.text
    }

    /// How many entities of each kind there are.
    #[must_use]
    pub fn counts(&self) -> EntityCounts {
        EntityCounts {
            experiences: self.experiences.list.len(),
            audiences: self.audiences.list.len(),
            locations: self.locations.list.len(),
            segments: self.segments.list.len(),
            features: self.features.list.len(),
            goals: self.goals.list.len(),
        }
    }

    /// The keys of the experiences, in config order.
    pub fn experience_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.experiences.list.iter().map(|experience| experience.key.as_str())
    }

    /// The keys of the features, in config order.
    pub fn feature_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.features.list.iter().map(|feature| feature.key.as_str())
    }

    /// The keys of the goals, in config order.
    pub fn goal_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.goals.list.iter().map(|goal| goal.key.as_str())
    }

    /// The audiences with the id of `first`, which is the first of them.
    #[inline]
    pub(crate) fn audiences_alike(&self, first: u32) -> impl Iterator<Item = &Audience> {
        self.audiences.alike(first)
    }

    /// The locations with the id of `first`, which is the first of them.
    #[inline]
    pub(crate) fn locations_alike(&self, first: u32) -> impl Iterator<Item = &RuledEntity> {
        self.locations.alike(first)
    }

    /// The segments with the id of `first`, which is the first of them.
    pub(crate) fn segments_alike(&self, first: u32) -> impl Iterator<Item = &RuledEntity> {
        self.segments.alike(first)
    }

    pub(crate) fn segments(&self) -> &[RuledEntity] {
        &self.segments.list
    }

    /// The size of the bucket space.
    pub(crate) const fn max_traffic(&self) -> u32 {
        self.bucketing.max_traffic
    }

    /// A visitor's hash by the `murmur3` crate, to check the SDK's own implementation.
    pub(crate) fn reference_hash(&self, experience_id: &str, visitor_id: &str) -> Option<u32> {
        let experience_id = if self.bucketing.exclude_experience_id_hash { "" } else { experience_id };
        let text = format!("{experience_id}{visitor_id}");
        murmur3::murmur3_32(&mut text.as_bytes(), self.bucketing.hash_seed).ok()
    }

    /// Parses a part of the text; `null` if it is nested too deeply.
    pub(super) fn served(&self, span: Span) -> Value {
        serde_json::from_str(self.slice(span)).unwrap_or(Value::Null)
    }

    /// One field of an entity, as served; `null` if it is missing or nested too deeply to be
    /// parsed.
    pub(crate) fn served_field(&self, entity: &impl Entity, name: &str) -> Value {
        match self.served(entity.span()) {
            Value::Object(mut fields) => fields.remove(name).unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    /// The JSON of one variation of an experience.
    pub(super) fn served_variation(&self, experience: Span, at: usize) -> Value {
        let read = serde_json::from_str::<VariationsWire<'_>>(self.slice(experience));
        let text = read.ok().and_then(|read| read.variations.into_vec().get(at).map(|raw| raw.get()));
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn variation(&self, wanted: impl Fn(&Variation) -> bool) -> Option<&Variation> {
        self.experiences.list.iter().flat_map(|experience| &*experience.variations).find(|one| wanted(one))
    }

    fn changes<T: Entity>(&self, now: &Entities<T>, previous: &Self, before: &Entities<T>) -> ChangeCounts {
        let mut left: HashMap<&str, &str> =
            before.list.iter().rev().map(|entity| (entity.id(), previous.slice(entity.span()))).collect();
        let mut counts = ChangeCounts::default();
        for (position, entity) in now.list.iter().enumerate() {
            // A duplicate id counts once, as the entity that lookups find.
            if now.find_id(entity.id()) != Some(position) {
                continue;
            }
            match left.remove(entity.id()) {
                None => counts.added += 1,
                Some(text) if !is_same(text, self.slice(entity.span())) => counts.changed += 1,
                Some(_) => {}
            }
        }
        counts.removed = left.len();
        counts
    }
}

/// What an engine looks up in a [`ConfigSnapshot`], mostly by position. Kept off the type, so that
/// a crate that re-exports the type does not promise these methods.
pub trait SnapshotExt: Sized {
    /// This config without its experiences and features, so that it decides nothing; the goals
    /// remain.
    #[must_use]
    fn withdrawn(self) -> Self;

    /// Whether this config decides nothing because it was withdrawn.
    fn is_withdrawn(&self) -> bool;

    /// Identifies this snapshot within the process, until 2^32 have been compiled; never 0.
    fn serial(&self) -> u32;

    /// Whether any custom segments are declared.
    fn has_segments(&self) -> bool;

    /// The experiences to decide when all are requested, by position.
    fn keyed_experiences(&self) -> impl ExactSizeIterator<Item = usize>;

    /// The positions of the experiences with a variation that carries a feature with this feature's
    /// key.
    fn carriers(&self, feature: usize) -> impl ExactSizeIterator<Item = usize>;

    /// The experiences, in config order.
    fn experiences(&self) -> &[Experience];

    /// The position of the first experience with this key.
    fn experience_index(&self, key: &str) -> Option<usize>;

    /// The position of the first experience with this id.
    fn experience_index_by_id(&self, id: &str) -> Option<usize>;

    /// The features, in config order.
    fn features(&self) -> &[Feature];

    /// The position of the first feature with this key.
    fn feature_index(&self, key: &str) -> Option<usize>;

    /// The goals, in config order.
    fn goals(&self) -> &[RuledEntity];

    /// The position of the first goal with this key, unless its id is falsy in JavaScript.
    fn goal_index(&self, key: &str) -> Option<usize>;

    /// The first entity with this key, as served; parses its text on every call.
    fn entity(&self, kind: EntityKind, key: &str) -> Option<Value>;

    /// The first entity with this id, as served; parses its text on every call.
    fn entity_by_id(&self, kind: EntityKind, id: &str) -> Option<Value>;

    /// What changed between `previous` and this config.
    fn changes_from(&self, previous: &Self) -> ConfigChanges;

    /// What changed if there was no previous config.
    fn all_added(&self) -> ConfigChanges;
}

impl SnapshotExt for ConfigSnapshot {
    fn withdrawn(self) -> Self {
        Self {
            withdrawn: true,
            keyed: Box::default(),
            experiences: Entities::new(Vec::new()),
            features: Entities::new(Vec::new()),
            ..self
        }
    }

    fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    #[inline]
    fn serial(&self) -> u32 {
        self.serial
    }

    #[inline]
    fn has_segments(&self) -> bool {
        !self.segments().is_empty()
    }

    #[inline]
    fn keyed_experiences(&self) -> impl ExactSizeIterator<Item = usize> {
        self.keyed.iter().map(|position| *position as usize)
    }

    #[inline]
    fn carriers(&self, feature: usize) -> impl ExactSizeIterator<Item = usize> {
        let carriers = self.features.list.get(feature).map_or(&[][..], |feature| &feature.carriers);
        carriers.iter().map(|position| *position as usize)
    }

    #[inline]
    fn experiences(&self) -> &[Experience] {
        &self.experiences.list
    }

    fn experience_index(&self, key: &str) -> Option<usize> {
        self.experiences.find(key)
    }

    fn experience_index_by_id(&self, id: &str) -> Option<usize> {
        self.experiences.find_id(id)
    }

    #[inline]
    fn features(&self) -> &[Feature] {
        &self.features.list
    }

    fn feature_index(&self, key: &str) -> Option<usize> {
        self.features.find(key)
    }

    #[inline]
    fn goals(&self) -> &[RuledEntity] {
        &self.goals.list
    }

    fn goal_index(&self, key: &str) -> Option<usize> {
        self.goals.find(key).filter(|position| self.goals.list[*position].has_id)
    }

    fn entity(&self, kind: EntityKind, key: &str) -> Option<Value> {
        let by_key = |variation: &Variation| variation.key == key;
        let span = match kind {
            EntityKind::Experience => span_at(&self.experiences, self.experiences.find(key)),
            EntityKind::Feature => span_at(&self.features, self.features.find(key)),
            EntityKind::Goal => span_at(&self.goals, self.goals.find(key)),
            EntityKind::Audience => span_at(&self.audiences, self.audiences.find(key)),
            EntityKind::Segment => span_at(&self.segments, self.segments.find(key)),
            EntityKind::Location => span_at(&self.locations, self.locations.find(key)),
            EntityKind::Variation => return self.variation(by_key).map(|variation| variation.raw(self)),
        };
        span.map(|span| self.served(span))
    }

    fn entity_by_id(&self, kind: EntityKind, id: &str) -> Option<Value> {
        let by_id = |variation: &Variation| variation.id == id;
        let span = match kind {
            EntityKind::Experience => span_at(&self.experiences, self.experiences.find_id(id)),
            EntityKind::Feature => span_at(&self.features, self.features.find_id(id)),
            EntityKind::Goal => span_at(&self.goals, self.goals.find_id(id)),
            EntityKind::Audience => span_at(&self.audiences, self.audiences.find_id(id)),
            EntityKind::Segment => span_at(&self.segments, self.segments.find_id(id)),
            EntityKind::Location => span_at(&self.locations, self.locations.find_id(id)),
            EntityKind::Variation => return self.variation(by_id).map(|variation| variation.raw(self)),
        };
        span.map(|span| self.served(span))
    }

    fn changes_from(&self, previous: &Self) -> ConfigChanges {
        ConfigChanges {
            experiences: self.changes(&self.experiences, previous, &previous.experiences),
            audiences: self.changes(&self.audiences, previous, &previous.audiences),
            locations: self.changes(&self.locations, previous, &previous.locations),
            segments: self.changes(&self.segments, previous, &previous.segments),
            features: self.changes(&self.features, previous, &previous.features),
            goals: self.changes(&self.goals, previous, &previous.goals),
        }
    }

    fn all_added(&self) -> ConfigChanges {
        let added = |added| ChangeCounts { added, ..ChangeCounts::default() };
        ConfigChanges {
            experiences: added(self.experiences.distinct()),
            audiences: added(self.audiences.distinct()),
            locations: added(self.locations.distinct()),
            segments: added(self.segments.distinct()),
            features: added(self.features.distinct()),
            goals: added(self.goals.distinct()),
        }
    }
}

impl Variation {
    /// The variation as served, including the fields that evaluation does not read.
    #[must_use]
    pub fn raw(&self, snapshot: &ConfigSnapshot) -> Value {
        snapshot.served_variation(self.experience, self.at as usize)
    }
}

/// Whether two JSON texts say the same, however they are written. What cannot be parsed is no more than its text.
fn is_same(before: &str, now: &str) -> bool {
    let value = |text| serde_json::from_str::<Value>(text).ok();
    before == now || value(before).is_some_and(|before| value(now) == Some(before))
}

fn span_at<T: Entity>(entities: &Entities<T>, position: Option<usize>) -> Option<Span> {
    entities.list.get(position?).map(Entity::span)
}

/// Shows ids and counts only.
impl fmt::Debug for ConfigSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSnapshot")
            .field("account_id", &self.account_id)
            .field("project_id", &self.project_id)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
