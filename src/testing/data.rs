//! A served config, built in a few lines.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use smol_str::{SmolStr, format_smolstr};

use super::{Rule, TestCore, TestCoreError};
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{CompileOptions, EntityKind, compile};
use crate::error::InitializeError;

/// Builds a config in the format that Convert serves, which the real engine compiles and decides on. Entities are named
/// by their keys; ids are made up. An example is at the [module](self::super).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TestData {
    experiences: Vec<TestExperience>,
    audiences: Vec<Ruled>,
    segments: Vec<Ruled>,
    locations: Vec<Ruled>,
    goals: Vec<Ruled>,
}

/// Something with a key and perhaps a rule.
#[derive(Clone, Debug)]
struct Ruled {
    key: SmolStr,
    rule: Option<Rule>,
}

/// An experience for [`TestData`]. Its variations share the visitors equally unless a
/// [`traffic`](Self::traffic) is given, and by default everyone takes part, everywhere.
#[derive(Clone, Debug)]
#[must_use]
pub struct TestExperience {
    key: SmolStr,
    environment: Option<SmolStr>,
    audiences: Vec<SmolStr>,
    locations: Vec<SmolStr>,
    variations: Vec<TestVariation>,
    /// Whether something was given to a variation before there was one.
    is_early: bool,
}

#[derive(Clone, Debug)]
struct TestVariation {
    key: SmolStr,
    percent: Option<f64>,
    features: Vec<(SmolStr, Attributes)>,
}

impl TestData {
    /// An empty config.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an experience.
    pub fn experience(mut self, experience: TestExperience) -> Self {
        self.experiences.push(experience);
        self
    }

    /// Adds an audience, which [`TestExperience::audience`] names.
    pub fn audience(mut self, key: impl Into<SmolStr>, rule: Rule) -> Self {
        self.audiences.push(Ruled { key: key.into(), rule: Some(rule) });
        self
    }

    /// Adds a custom segment, for [`Context::run_custom_segments`](crate::Context::run_custom_segments);
    /// [`TestExperience::audience`] can name it too.
    pub fn segment(mut self, key: impl Into<SmolStr>, rule: Rule) -> Self {
        self.segments.push(Ruled { key: key.into(), rule: Some(rule) });
        self
    }

    /// Adds a location, which [`TestExperience::location`] names.
    pub fn location(mut self, key: impl Into<SmolStr>, rule: Rule) -> Self {
        self.locations.push(Ruled { key: key.into(), rule: Some(rule) });
        self
    }

    /// Adds a goal.
    pub fn goal(mut self, key: impl Into<SmolStr>) -> Self {
        self.goals.push(Ruled { key: key.into(), rule: None });
        self
    }

    /// Adds a goal with a rule, for [`ConversionOptions::rule_data`](crate::ConversionOptions::rule_data).
    pub fn goal_with(mut self, key: impl Into<SmolStr>, rule: Rule) -> Self {
        self.goals.push(Ruled { key: key.into(), rule: Some(rule) });
        self
    }

    /// The config as Convert would serve it, such as for an emulator.
    ///
    /// # Errors
    /// What was added does not fit together: [`TestCoreError::Unknown`], [`Repeated`](TestCoreError::Repeated),
    /// [`Traffic`](TestCoreError::Traffic), [`NoVariation`](TestCoreError::NoVariation) or
    /// [`NotUsed`](TestCoreError::NotUsed).
    pub fn to_json(&self) -> Result<Value, TestCoreError> {
        let served = self.served()?;
        let compiled = compile(served.to_string(), &CompileOptions::default());
        let warnings = compiled.map_err(|error| InitializeError::Load(error.into()))?.warnings;
        warnings.into_iter().next().map_or(Ok(served), |warning| Err(TestCoreError::NotUsed(warning)))
    }

    /// The keys of what was added, by kind: of variations and features only within an experience.
    fn check(&self) -> Result<(), TestCoreError> {
        let keys = |list: &[Ruled]| list.iter().map(|it| it.key.clone()).collect::<Vec<_>>();
        distinct(EntityKind::Experience, self.experiences.iter().map(|it| it.key.clone()))?;
        // An experience names both alike.
        distinct(EntityKind::Audience, [keys(&self.audiences), keys(&self.segments)].concat())?;
        distinct(EntityKind::Location, keys(&self.locations))?;
        distinct(EntityKind::Goal, keys(&self.goals))?;
        self.experiences.iter().try_for_each(TestExperience::check)
    }

    fn served(&self) -> Result<Value, TestCoreError> {
        self.check()?;
        let features = self.features();
        let experiences = self.experiences.iter().enumerate();
        let experiences: Vec<Value> =
            experiences.map(|(at, it)| it.served(at, self, &features)).collect::<Result<_, _>>()?;
        let served = |list: &[Ruled], first: usize| -> Value {
            list.iter().enumerate().map(|(at, it)| it.served(first + at)).collect()
        };
        let declared = features.iter().enumerate().map(|(at, (key, variables))| {
            let variables: Value =
                variables.iter().map(|(name, kind)| json!({"key": name, "type": kind})).collect();
            json!({"id": (FEATURES + at).to_string(), "key": key, "variables": variables})
        });
        Ok(json!({
            "account_id": "1",
            "project": {"id": "2", "name": "Test", "type": "fullstack"},
            "experiences": experiences,
            "audiences": served(&self.audiences, AUDIENCES),
            "segments": served(&self.segments, SEGMENTS),
            "locations": served(&self.locations, LOCATIONS),
            "features": declared.collect::<Value>(),
            "goals": served(&self.goals, GOALS),
        }))
    }

    /// A ready core with this config.
    ///
    /// # Errors
    /// Like [`to_json`](Self::to_json).
    pub fn start(&self) -> Result<TestCore, TestCoreError> {
        TestCore::from_json(self.to_json()?.to_string())
    }

    /// The features that variations carry, with their variables and the types of these.
    fn features(&self) -> Vec<(SmolStr, Vec<(SmolStr, &'static str)>)> {
        let mut features: Vec<(SmolStr, Vec<(SmolStr, &'static str)>)> = Vec::new();
        let variations = self.experiences.iter().flat_map(|it| &it.variations);
        for (key, values) in variations.flat_map(|it| &it.features) {
            let at = features.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                features.push((key.clone(), Vec::new()));
                features.len() - 1
            });
            let variables = &mut features[at].1;
            for (name, value) in values.iter() {
                if !variables.iter().any(|(known, _)| known == name) {
                    variables.push((name.into(), type_of(value)));
                }
            }
        }
        features
    }
}

// Where the ids of each kind begin.
const EXPERIENCES: usize = 1_000;
const VARIATIONS: usize = 100_000;
const AUDIENCES: usize = 3_000;
const SEGMENTS: usize = 4_000;
const LOCATIONS: usize = 5_000;
const FEATURES: usize = 6_000;
const GOALS: usize = 7_000;

impl Ruled {
    fn served(&self, id: usize) -> Value {
        let mut served = json!({"id": id.to_string(), "key": self.key, "type": "transient"});
        if let Some(rule) = &self.rule {
            served["rules"] = rule.served();
        }
        served
    }
}

impl TestExperience {
    /// An experience without variations, for everyone.
    pub fn new(key: impl Into<SmolStr>) -> Self {
        Self {
            key: key.into(),
            environment: None,
            audiences: Vec::new(),
            locations: Vec::new(),
            variations: Vec::new(),
            is_early: false,
        }
    }

    /// Adds a variation.
    pub fn variation(mut self, key: impl Into<SmolStr>) -> Self {
        self.variations.push(TestVariation { key: key.into(), percent: None, features: Vec::new() });
        self
    }

    /// What share of the visitors the variation added last gets, in percent. Without one, it gets what an equal split
    /// among all variations would give it. What is left of 100 gets no variation.
    pub fn traffic(mut self, percent: f64) -> Self {
        match self.variations.last_mut() {
            Some(last) => last.percent = Some(percent),
            None => self.is_early = true,
        }
        self
    }

    /// Has the variation added last carry a feature, with these variables; their types follow from the values: text,
    /// integers, other numbers, booleans, and JSON for lists and objects.
    pub fn feature(mut self, key: impl Into<SmolStr>, variables: impl Into<Attributes>) -> Self {
        match self.variations.last_mut() {
            Some(last) => last.features.push((key.into(), variables.into())),
            None => self.is_early = true,
        }
        self
    }

    /// Restricts the experience to an audience, or to those with a custom segment. Of several audiences one will do;
    /// of several segments too.
    pub fn audience(mut self, key: impl Into<SmolStr>) -> Self {
        self.audiences.push(key.into());
        self
    }

    /// Restricts the experience to a location; of several, one will do.
    pub fn location(mut self, key: impl Into<SmolStr>) -> Self {
        self.locations.push(key.into());
        self
    }

    /// The environment that the experience runs in. Default none, which is all.
    pub fn environment(mut self, environment: impl Into<SmolStr>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// What a variation without a share of its own gets.
    #[expect(clippy::cast_precision_loss, reason = "there are few variations")]
    fn equal(&self) -> f64 {
        100.0 / self.variations.len().max(1) as f64
    }

    fn check(&self) -> Result<(), TestCoreError> {
        /// What sums of shares may be off by.
        const ROUNDING: f64 = 1e-6;
        let experience = self.key.clone();
        if self.is_early {
            return Err(TestCoreError::NoVariation { experience });
        }
        distinct(EntityKind::Variation, self.variations.iter().map(|it| it.key.clone()))?;
        for variation in &self.variations {
            distinct(EntityKind::Feature, variation.features.iter().map(|(key, _)| key.clone()))?;
        }
        let shares = || self.variations.iter().map(|it| it.percent.unwrap_or(self.equal()));
        let percent = shares().sum();
        if shares().all(|share| share >= 0.0) && percent <= 100.0 + ROUNDING {
            return Ok(());
        }
        Err(TestCoreError::Traffic { experience, percent })
    }

    fn served(
        &self,
        at: usize,
        data: &TestData,
        features: &[(SmolStr, Vec<(SmolStr, &'static str)>)],
    ) -> Result<Value, TestCoreError> {
        let audience = |key: &SmolStr| {
            let audience =
                id_of(&data.audiences, key, AUDIENCES).or_else(|| id_of(&data.segments, key, SEGMENTS));
            audience.ok_or_else(|| TestCoreError::unknown(EntityKind::Audience, key))
        };
        let location = |key: &SmolStr| {
            let location = id_of(&data.locations, key, LOCATIONS);
            location.ok_or_else(|| TestCoreError::unknown(EntityKind::Location, key))
        };
        let equal = self.equal();
        let variations = self.variations.iter().enumerate().map(|(number, variation)| {
            let changes = variation.features.iter().enumerate().map(|(number, (key, values))| {
                let id = features.iter().position(|(known, _)| known == key).unwrap_or_default() + FEATURES;
                let values: Map<String, Value> =
                    values.iter().map(|(name, value)| (name.to_owned(), text_of(value))).collect();
                let data = json!({"feature_id": id, "variables_data": values});
                json!({"id": number + 1, "type": "fullStackFeature", "data": data})
            });
            json!({
                "id": (VARIATIONS + 100 * at + number).to_string(),
                "key": variation.key,
                "traffic_allocation": variation.percent.unwrap_or(equal),
                "status": "running",
                "changes": changes.collect::<Value>(),
            })
        });
        let mut served = json!({
            "id": (EXPERIENCES + at).to_string(),
            "key": self.key,
            "name": self.key,
            "version": 12,
            "audiences": self.audiences.iter().map(audience).collect::<Result<Value, _>>()?,
            "settings": {"matching_options": {"audiences": "any"}},
            "variations": variations.collect::<Value>(),
        });
        if !self.locations.is_empty() {
            served["locations"] = self.locations.iter().map(location).collect::<Result<Value, _>>()?;
        }
        if let Some(environment) = &self.environment {
            served["environment"] = environment.as_str().into();
        }
        Ok(served)
    }
}

/// Refuses a key that comes twice.
fn distinct(kind: EntityKind, keys: impl IntoIterator<Item = SmolStr>) -> Result<(), TestCoreError> {
    let mut seen = HashSet::new();
    match keys.into_iter().find(|key| !seen.insert(key.clone())) {
        Some(key) => Err(TestCoreError::Repeated { kind, key }),
        None => Ok(()),
    }
}

fn id_of(list: &[Ruled], key: &str, first: usize) -> Option<String> {
    list.iter().position(|it| it.key == key).map(|at| (first + at).to_string())
}

/// The declared type that a value of this kind has.
fn type_of(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::Bool(_) => "boolean",
        AttributeValue::Number(number) if number.fract() == 0.0 => "integer",
        AttributeValue::Number(_) => "float",
        AttributeValue::Array(_) | AttributeValue::Object(_) => "json",
        _ => "string",
    }
}

/// Variables are served as text.
fn text_of(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::String(text) => text.as_str().into(),
        other => format_smolstr!("{}", Value::from(other)).as_str().into(),
    }
}
