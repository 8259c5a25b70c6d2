//! Compiles the served text into a snapshot. Only what makes the whole config unusable is an error;
//! anything else malformed becomes a warning and never matches.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Arguments;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::conditions::share;
use super::entity::{Audience, Entities, Exclusion, Experience, Feature, RuledEntity};
use super::experience::Referred;
use super::index::position;
use super::layout::{CompileOptions, Edge};
use super::reader::Reader;
use super::rules::{RuleSet, exclusion};
use super::shape::{ListWire, ObjectWire, ValueWire};
use super::snapshot::ConfigSnapshot;
use super::warning::{ConfigError, ConfigWarning};
use super::wire::{FeatureWire, IdentityWire, RootWire, RuledWire, RulesWire};
use crate::attributes::AttributeValue;
use crate::js::cast::VariableType;
use crate::js::text::truthy;

/// A snapshot, and warnings about malformed parts.
#[derive(Debug)]
pub struct Compiled {
    /// What decisions are made from.
    pub snapshot: ConfigSnapshot,
    /// The first ten warnings.
    pub warnings: Vec<ConfigWarning>,
    /// How many more warnings there were.
    pub more_warnings: usize,
}

/// Parses and compiles a served config; the snapshot keeps the text. Never panics, whatever the
/// text.
///
/// # Errors
/// The text as a whole is not a config; a malformed part becomes a warning.
pub fn compile(text: String, options: &CompileOptions) -> Result<Compiled, ConfigError> {
    if u32::try_from(text.len()).is_err() {
        return Err(ConfigError::TooLarge);
    }
    let mut reader = Reader { text: &text, options, warnings: Vec::new(), more_warnings: 0 };
    let parts = reader.compile()?;
    let Reader { warnings, more_warnings, .. } = reader;
    let snapshot = ConfigSnapshot {
        serial: next_serial(),
        keyed: parts.keyed,
        account_id: parts.account_id,
        project_id: parts.project_id,
        experiences: parts.experiences,
        audiences: parts.audiences,
        locations: parts.locations,
        segments: parts.segments,
        features: parts.features,
        goals: parts.goals,
        bucketing: *options,
        withdrawn: false,
        text: text.into_boxed_str(),
    };
    Ok(Compiled { snapshot, warnings, more_warnings })
}

/// A number that no other snapshot of this process has, never 0.
fn next_serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

/// A snapshot without its text, which the compiler still borrows.
struct Parts {
    keyed: Box<[u32]>,
    account_id: SmolStr,
    project_id: SmolStr,
    experiences: Entities<Experience>,
    audiences: Entities<Audience>,
    locations: Entities<RuledEntity>,
    segments: Entities<RuledEntity>,
    features: Entities<Feature>,
    goals: Entities<RuledEntity>,
}

impl<'a> Reader<'a> {
    fn compile(&mut self) -> Result<Parts, ConfigError> {
        // A byte order mark is not part of the document.
        let json = self.text.strip_prefix('\u{feff}').unwrap_or(self.text);
        let root: RootWire<'a> = serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data if !json.trim_start().starts_with('{') => {
                ConfigError::NotAnObject
            }
            _ => ConfigError::NotJson { line: error.line(), column: error.column() },
        })?;
        if root.error.0.as_ref().is_some_and(truthy) {
            return Err(ConfigError::ServedError);
        }
        let account_id = required(&root.account_id, "account_id")?;
        let project = root.project.0.ok_or(ConfigError::MissingField("project"))?;
        let project_id = required(&project.id, "project.id")?;

        let features = self.listed(root.features, "features")?;
        let mut features = Entities::new(self.each("features", &features, Self::feature));
        group(&mut features);
        let audiences = self.listed(root.audiences, "audiences")?;
        let mut audiences = Entities::new(self.each("audiences", &audiences, Self::audience));
        share(&mut audiences.list);
        let locations = self.ruled("locations", root.locations)?;
        let segments = self.ruled("segments", root.segments)?;
        let goals = self.ruled("goals", root.goals)?;
        let archived: HashSet<SmolStr> =
            root.archived_experiences.into_vec().iter().filter_map(ValueWire::text).collect();

        let referred = Referred {
            archived: &archived,
            audiences: &audiences,
            locations: &locations,
            segments: &segments,
            declared: declared(&features),
            features: &features,
        };
        let experiences = self.listed(root.experiences, "experiences")?;
        let mut experiences =
            self.each("experiences", &experiences, |this, path, raw| this.experience(path, raw, &referred));
        share_ids(&mut experiences);
        let experiences = Entities::new(experiences);
        // Without the experience, which may run elsewhere or be over, nobody is bucketed into it: no reason to warn.
        for excluding in audiences.list.iter_mut().filter_map(|audience| audience.exclusion.as_mut()) {
            let found = experiences.find(&excluding.experience_key);
            excluding.experience = found.map(|at| experiences.list[at].home);
        }
        let keyed: Box<[u32]> = experiences
            .list
            .iter()
            .filter_map(|experience| experiences.find(&experience.key).map(position))
            .collect();
        carriers(&mut features, &experiences, &keyed);
        Ok(Parts {
            keyed,
            account_id,
            project_id,
            experiences,
            audiences,
            locations,
            segments,
            features,
            goals,
        })
    }

    fn ruled(
        &mut self,
        section: &'static str,
        list: ListWire<&'a RawValue>,
    ) -> Result<Entities<RuledEntity>, ConfigError> {
        let raws = self.listed(list, section)?;
        Ok(Entities::new(self.each(section, &raws, |this, path, raw| {
            let wire = this.read_ruled(path, raw)?;
            // For a goal, having no rules differs from having rules that never match.
            let has_rules = wire.rules.truthy;
            Some(RuledEntity {
                id: this.id(path, &wire.id)?,
                has_id: wire.id.is_truthy(),
                key: wire.key.text_or_undefined(),
                has_text_key: wire.key.is_text(),
                rules: has_rules.then(|| this.rules(format_args!("{path}.rules"), wire.rules)),
                span: this.span(raw),
            })
        })))
    }

    fn audience(&mut self, path: Arguments<'_>, raw: &'a RawValue) -> Option<Audience> {
        let wire = self.read_ruled(path, raw)?;
        let exclusion = wire.rules.set.as_ref().and_then(exclusion).map(|exclusion| Exclusion {
            experience_key: exclusion.experience_key,
            experience: None,
            negated: exclusion.negated,
        });
        Some(Audience {
            id: self.id(path, &wire.id)?,
            key: wire.key.text_or_undefined(),
            permanent: matches!(&wire.kind.0, Some(AttributeValue::String(kind)) if kind == "permanent"),
            // An exclusion audience is decided without its rules.
            rules: match exclusion {
                Some(_) => RuleSet::default(),
                None => self.rules(format_args!("{path}.rules"), wire.rules),
            },
            exclusion,
            span: self.span(raw),
        })
    }

    fn feature(&mut self, path: Arguments<'_>, raw: &'a RawValue) -> Option<Feature> {
        let wire: FeatureWire = self.read(path, raw)?;
        let mut variables: Vec<(SmolStr, Option<VariableType>)> = Vec::new();
        for variable in wire.variables.into_vec().into_iter().filter_map(|ObjectWire(variable)| variable) {
            let declared = match &variable.kind.0 {
                Some(AttributeValue::String(kind)) => VariableType::named(kind),
                _ => None,
            };
            variables.extend(variable.key.text().map(|key| (key, declared)));
        }
        Some(Feature {
            id: self.id(path, &wire.id)?,
            key: wire.key.text_or_undefined(),
            name: wire.name.text(),
            variables: by_key(variables),
            group: if wire.key.is_text() { 0 } else { Feature::NO_GROUP },
            carriers: Box::default(),
            span: self.span(raw),
        })
    }

    /// Reads an entity that others refer to. If a malformed one were left out, its absence could
    /// open an experience to everyone; it stays and never matches.
    fn read_ruled(&mut self, path: Arguments<'_>, raw: &'a RawValue) -> Option<RuledWire> {
        if let Some(wire) = self.read::<RuledWire>(path, raw) {
            return Some(wire);
        }
        let ObjectWire(identity) = serde_json::from_str::<ObjectWire<IdentityWire>>(raw.get()).ok()?;
        let IdentityWire { id, key } = identity?;
        let rules = RulesWire { set: None, truthy: true };
        Some(RuledWire { id, key, kind: ValueWire::default(), rules })
    }
}

/// Links every feature to the first one with its key.
fn group(features: &mut Entities<Feature>) {
    for at in 0..features.list.len() {
        if features.list[at].group != Feature::NO_GROUP {
            features.list[at].group =
                features.find(&features.list[at].key).map_or(Feature::NO_GROUP, position);
        }
    }
}

/// The declarations by id. Unlike anywhere else, the last of a duplicate id wins.
fn declared(features: &Entities<Feature>) -> HashMap<SmolStr, u32> {
    features.list.iter().enumerate().map(|(at, feature)| (feature.id.clone(), position(at))).collect()
}

/// Gives experiences that share an id the variations and the stored decisions of the first of them.
/// A visitor is still bucketed by the experience's own variations.
fn share_ids(experiences: &mut [Experience]) {
    let mut first_of: HashMap<SmolStr, (usize, Option<HashMap<SmolStr, u32>>)> =
        HashMap::with_capacity(experiences.len());
    for at in 0..experiences.len() {
        let (before, rest) = experiences.split_at_mut(at);
        let Some(experience) = rest.first_mut() else { break };
        let (first, ids) = match first_of.entry(experience.id.clone()) {
            Entry::Vacant(new) => {
                new.insert((at, None));
                experience.home = position(at);
                continue;
            }
            Entry::Occupied(known) => {
                let (first, ids) = known.into_mut();
                (*first, ids)
            }
        };
        experience.home = position(first);
        // An experience without variations of its own buckets nobody.
        if experience.variations.is_empty() {
            continue;
        }
        let theirs = &before[first].variations;
        let ids = ids.get_or_insert_with(|| {
            // In reverse, so that the first of a duplicate id wins.
            theirs.iter().enumerate().rev().map(|(at, one)| (one.id.clone(), position(at))).collect()
        });
        for edge in &mut experience.layout.edges {
            let own = &experience.variations[edge.variation as usize].id;
            edge.variation = ids.get(own).copied().unwrap_or(Edge::NO_VARIATION);
        }
        experience.variations = Arc::clone(theirs);
    }
}

/// Records for each feature key which experiences can carry it.
fn carriers(features: &mut Entities<Feature>, experiences: &Entities<Experience>, keyed: &[u32]) {
    let mut carriers = vec![Vec::new(); features.list.len()];
    let mut next = 0;
    for at in keyed {
        // A duplicate key comes up again after the experience itself.
        if *at < next {
            continue;
        }
        next = *at + 1;
        let Some(experience) = experiences.list.get(*at as usize) else { continue };
        for carried in experience.variations.iter().flat_map(|variation| &variation.features) {
            let Some(carriers) = carriers.get_mut(carried.group as usize) else { continue };
            if carriers.last() != Some(at) {
                carriers.push(*at);
            }
        }
    }
    for (feature, carriers) in features.list.iter_mut().zip(carriers) {
        feature.carriers = carriers.into_boxed_slice();
    }
}

/// The declared types of variables by key; the first of a duplicate key wins.
fn by_key(mut variables: Vec<(SmolStr, Option<VariableType>)>) -> Box<[(SmolStr, Option<VariableType>)]> {
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    variables.dedup_by(|(later, _), (earlier, _)| later == earlier);
    variables.into_boxed_slice()
}

fn required(value: &ValueWire, field: &'static str) -> Result<SmolStr, ConfigError> {
    let present = value.is_truthy().then(|| value.text()).flatten();
    present.ok_or(ConfigError::MissingField(field))
}
