//! A config as served: its text, and the few fields that routes need.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::ConfigError;

/// The status of experiences that are served.
const ACTIVE: &str = "active";
/// The most experiences that a line names.
const MOST_NAMED: usize = 20;

/// A config split into its entities without changing a byte of them.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) account_id: String,
    pub(crate) project_id: String,
    text: String,
    root: BTreeMap<String, Box<RawValue>>,
    experiences: Vec<Experience>,
    pub(crate) ids: KnownIds,
}

#[derive(Debug)]
struct Experience {
    raw: Box<RawValue>,
    id: Option<String>,
    /// The key, or else the id.
    name: Option<String>,
    environment: Option<String>,
    /// Its status, if Convert does not serve experiences in it.
    stopped: Option<String>,
}

/// The ids that events may refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownIds {
    /// Variation ids by experience id.
    pub(crate) experiences: HashMap<String, HashSet<String>>,
    pub(crate) goals: HashSet<String>,
}

/// What a config request filters out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConfigFilter<'a> {
    pub(crate) environment: Option<&'a str>,
    pub(crate) experience: Option<&'a str>,
}

impl Config {
    /// Reads a config. A missing account or project id is taken from `previous`, so that a config set at run time can
    /// omit it.
    pub(crate) fn parse(text: String, previous: Option<&Config>) -> Result<Self, ConfigError> {
        let root: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text)?;
        let value: Value = serde_json::from_str(&text)?;
        let account_id = id_text(&value["account_id"])
            .or_else(|| previous.map(|config| config.account_id.clone()))
            .ok_or(ConfigError::Missing("account_id"))?;
        let project_id = id_text(&value["project"]["id"])
            .or_else(|| previous.map(|config| config.project_id.clone()))
            .ok_or(ConfigError::Missing("project.id"))?;
        let experiences = match root.get("experiences") {
            // Experiences that are not a list are served unchanged: tests want to serve bad configs.
            Some(raw) => serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()).unwrap_or_default(),
            None => Vec::new(),
        };
        let experiences = experiences.into_iter().map(Experience::read).collect::<Result<_, _>>()?;
        let ids = KnownIds::of(&value);
        Ok(Self { account_id, project_id, text, root, experiences, ids })
    }

    /// The text to serve: byte for byte as given if nothing is filtered out.
    ///
    /// Filtered out are experiences whose `environment` is set and differs from the requested one; those whose `status`
    /// is set and not `active`, unless the request is for one experience; and, in that case, all other experiences.
    pub(crate) fn render(&self, filter: ConfigFilter<'_>) -> Result<String, ConfigError> {
        let kept: Vec<&RawValue> = self
            .experiences
            .iter()
            .filter(|experience| experience.passes(filter))
            .map(|experience| &*experience.raw)
            .collect();
        if kept.len() == self.experiences.len() {
            return Ok(self.text.clone());
        }
        let kept = to_raw_value(&kept)?;
        let mut root: BTreeMap<&str, &RawValue> =
            self.root.iter().map(|(key, raw)| (key.as_str(), &**raw)).collect();
        root.insert("experiences", &kept);
        Ok(serde_json::to_string(&root)?)
    }

    /// A line about the experiences that are left out for their status, if there are any: a misspelled one would be
    /// silence.
    pub(crate) fn unserved(&self) -> Option<String> {
        let stopped = || self.experiences.iter().filter_map(|one| Some((one, one.stopped.as_deref()?)));
        let named: Vec<_> = stopped()
            .take(MOST_NAMED)
            .map(|(one, status)| {
                format!(
                    "{} ({})",
                    one.name.as_deref().unwrap_or("without a key").escape_debug(),
                    status.escape_debug()
                )
            })
            .collect();
        let rest = stopped().count() - named.len();
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        (!named.is_empty())
            .then(|| format!("not served, because their status is not {ACTIVE}: {}{more}", named.join(", ")))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn experience_count(&self) -> usize {
        self.experiences.len()
    }

    /// The key that every project has by default.
    pub(crate) fn direct_key(&self) -> String {
        format!("{}/{}", self.account_id, self.project_id)
    }
}

impl Experience {
    fn read(raw: Box<RawValue>) -> Result<Self, ConfigError> {
        let value: Value = serde_json::from_str(raw.get())?;
        Ok(Self {
            id: id_text(&value["id"]),
            name: id_text(&value["key"]).or_else(|| id_text(&value["id"])),
            environment: value["environment"].as_str().filter(|text| !text.is_empty()).map(str::to_owned),
            stopped: value["status"]
                .as_str()
                .filter(|status| !["", ACTIVE].contains(status))
                .map(str::to_owned),
            raw,
        })
    }

    fn passes(&self, filter: ConfigFilter<'_>) -> bool {
        let in_environment = match (&self.environment, filter.environment) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        let asked_for = match filter.experience {
            Some(id) => self.id.as_deref() == Some(id),
            None => self.stopped.is_none(),
        };
        in_environment && asked_for
    }
}

impl KnownIds {
    fn of(config: &Value) -> Self {
        let mut ids = Self::default();
        for experience in list(&config["experiences"]) {
            if let Some(id) = id_text(&experience["id"]) {
                let variations =
                    list(&experience["variations"]).filter_map(|variation| id_text(&variation["id"]));
                ids.experiences.entry(id).or_default().extend(variations);
            }
        }
        ids.goals.extend(list(&config["goals"]).filter_map(|goal| id_text(&goal["id"])));
        ids
    }

    /// Adds a newer config's ids; events about the older one stay valid, since clients send late.
    pub(crate) fn extend(&mut self, newer: &Self) {
        for (experience, variations) in &newer.experiences {
            self.experiences.entry(experience.clone()).or_default().extend(variations.iter().cloned());
        }
        self.goals.extend(newer.goals.iter().cloned());
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
