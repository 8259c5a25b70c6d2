//! Experiences and their variations: resolves references, lays out buckets, attaches features.

use std::collections::{HashMap, HashSet};
use std::fmt::Arguments;
use std::sync::Arc;

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::entity::{
    Audience, AudienceCheck, CarriedFeature, Entities, Environment, Experience, Feature, Place, RuledEntity,
    Span, Standing, Variable, Variation,
};
use super::index::position;
use super::layout::{Layout, Share};
use super::reader::Reader;
use super::shape::ObjectWire;
use super::warning::Quoted;
use super::wire::{ChangeWire, ExperienceWire, FeatureChangeWire, VariationWire};
use crate::attributes::AttributeValue;
use crate::js::cast::cast;
use crate::js::text::truthy;
use crate::murmur::Murmur3;

/// What experiences refer to.
pub(super) struct Referred<'a> {
    pub(super) archived: &'a HashSet<SmolStr>,
    pub(super) audiences: &'a Entities<Audience>,
    pub(super) locations: &'a Entities<RuledEntity>,
    pub(super) segments: &'a Entities<RuledEntity>,
    pub(super) features: &'a Entities<Feature>,
    /// The features that changes can refer to, by id.
    pub(super) declared: HashMap<SmolStr, u32>,
}

impl<'a> Reader<'a> {
    pub(super) fn experience(
        &mut self,
        path: Arguments<'_>,
        raw: &'a RawValue,
        referred: &Referred<'_>,
    ) -> Option<Experience> {
        let (wire, variations, is_whole) = self.read_experience(path, raw)?;
        let id = self.id(path, &wire.id)?;
        let locations = wire.locations.into_vec();
        let no_location = "matches nowhere: no location has the id";
        let [named] = self.named(format_args!("{path}.locations"), &locations, no_location, |id| {
            [referred.locations.find_id(id)]
        });
        let place = if !locations.is_empty() {
            Place::Locations(named)
        } else if wire.site_area.truthy {
            Place::SiteArea(Box::new(self.rules(format_args!("{path}.site_area"), wire.site_area)))
        } else {
            Place::Anywhere
        };
        let audiences = wire.audiences.into_vec();
        let no_audience = "restricts nobody: no audience or segment has the id";
        let [audiences, segments] =
            self.named(format_args!("{path}.audiences"), &audiences, no_audience, |id| {
                [referred.audiences.find_id(id), referred.segments.find_id(id)]
            });
        let matching = wire.settings.0.and_then(|settings| settings.matching_options.0);
        let all = matching.is_some_and(
            |matching| matches!(&matching.audiences.0, Some(AttributeValue::String(how)) if how == "all"),
        );

        let (variations, shares) = self.variations(path, self.span(raw), variations, referred);
        // With a variation missing, the buckets would map to other variations than in other SDKs,
        // so no new visitor is bucketed.
        let layout = if is_whole {
            Layout::new(&wire.version, shares, self.options.bucket_order)
        } else {
            Layout::empty()
        };
        let hash = Murmur3::new(self.options.hash_seed);
        Some(Experience {
            key: wire.key.text_or_undefined(),
            has_text_key: wire.key.is_text(),
            name: wire.name.text(),
            standing: match wire.id.is_truthy() {
                _ if referred.archived.contains(&id) => Standing::Archived,
                true => Standing::Running,
                false => Standing::NoId,
            },
            home: 0,
            environment: match &wire.environment.0 {
                Some(AttributeValue::String(name)) if !name.is_empty() => Environment::Named(name.clone()),
                Some(other) if truthy(other) => Environment::Nowhere(wire.environment.text_or_undefined()),
                _ => Environment::Any,
            },
            place,
            audiences: AudienceCheck { audiences, all },
            segments,
            variations,
            layout,
            hash: if self.options.exclude_experience_id_hash { hash } else { hash.update(id.as_bytes()) },
            id,
            span: self.span(raw),
        })
    }

    /// Parses an experience as a whole; if that fails, its variations one by one, so that only the
    /// malformed ones fail. The flag says whether every variation was parsed; an entry that is not
    /// an object has no place in a layout and does not count.
    fn read_experience(
        &mut self,
        path: Arguments<'_>,
        raw: &'a RawValue,
    ) -> Option<(ExperienceWire<()>, Vec<Option<VariationWire<'a>>>, bool)> {
        type Read<'a> = ExperienceWire<ObjectWire<VariationWire<'a>>>;
        if let Ok(ObjectWire(Some(wire))) = serde_json::from_str::<ObjectWire<Read<'a>>>(raw.get()) {
            let (wire, variations) = wire.split();
            if variations.iter().all(|ObjectWire(variation)| variation.is_some()) {
                let variations = variations.into_iter().map(|ObjectWire(variation)| variation);
                return Some((wire, variations.collect(), true));
            }
        }
        let (wire, raws) = self.read::<ExperienceWire<&'a RawValue>>(path, raw)?.split();
        let one = |(at, raw): (usize, &&'a RawValue)| self.read(format_args!("{path}.variations[{at}]"), raw);
        let variations: Vec<_> = raws.iter().enumerate().map(one).collect();
        let is_whole =
            raws.iter().zip(&variations).all(|(raw, read)| read.is_some() || !raw.get().starts_with('{'));
        Some((wire, variations, is_whole))
    }

    fn variations(
        &mut self,
        path: Arguments<'_>,
        experience: Span,
        wires: Vec<Option<VariationWire<'a>>>,
        referred: &Referred<'_>,
    ) -> (Arc<[Variation]>, Vec<Share>) {
        let served = wires.len();
        let mut variations: Vec<Variation> = Vec::with_capacity(served);
        let mut shares = Vec::with_capacity(served);
        let mut first_of: HashMap<SmolStr, u32> = HashMap::with_capacity(served);
        for (at, wire) in wires.into_iter().enumerate() {
            let Some(wire) = wire else { continue };
            let id = wire.id.non_null_text().unwrap_or_default();
            let variation = *first_of.entry(id.clone()).or_insert(position(variations.len()));
            shares.push(Share::new(id.clone(), &wire.id, &wire.status, &wire.traffic_allocation, variation));
            let changes = wire.changes.0.into_iter().enumerate().filter_map(|(n, ObjectWire(change))| {
                self.carried(format_args!("{path}.variations[{at}].changes[{n}]"), &change?, referred)
            });
            variations.push(Variation {
                id,
                key: wire.key.text().unwrap_or_default(),
                name: wire.name.text(),
                features: changes.collect(),
                experience,
                at: position(at),
            });
        }
        (variations.into(), shares)
    }

    fn carried(
        &mut self,
        path: Arguments<'_>,
        change: &ChangeWire<'a>,
        referred: &Referred<'_>,
    ) -> Option<CarriedFeature> {
        if !matches!(&change.kind.0, Some(AttributeValue::String(kind)) if kind == "fullStackFeature") {
            return None;
        }
        let wire: FeatureChangeWire = self.read(format_args!("{path}.data"), change.data?)?;
        let id = wire.feature_id.is_truthy().then(|| wire.feature_id.text())??;
        let Some(&position) = referred.declared.get(&id) else {
            self.warn(path, format_args!("not used: no feature has the id {}", Quoted(&id)));
            return None;
        };
        let feature = referred.features.list.get(position as usize)?;
        let declared = &feature.variables;
        let declared_as = |key: &SmolStr| {
            let at = declared.binary_search_by(|(name, _)| name.cmp(key)).ok()?;
            declared[at].1
        };
        let variables = wire.variables_data.0.map(|pairs| {
            let cast_one = |(key, served): (SmolStr, serde_json::Value)| match declared_as(&key)
                .and_then(|declared| cast(&served, declared))
            {
                Some(value) if value != served => Variable { key, value, served: Some(Box::new(served)) },
                _ => Variable { key, value: served, served: None },
            };
            pairs.into_iter().map(cast_one).collect()
        });
        Some(CarriedFeature { feature: position, group: feature.group, variables })
    }
}
