//! Why a decision came out as it did, recorded by the code that decides.

use serde::Serialize;
use serde_json::Value;

use super::trace::{ItemOutcome, Trace};
use super::{Decision, DecisionSource, Facts, StoredDecisions, Undecided, experience};
use crate::attributes::AttributeValue;
use crate::config::{
    Audience, ConfigSnapshot, Environment, Experience, Item, ItemPath, Place, RuledEntity, SnapshotExt, Test,
};

/// Why one experience was decided, or not, for one visitor: `outcome` names what settled it, and
/// the steps are the checks that led there.
///
/// The last step is the check that failed, or the one that selected the variation. A `stored`
/// decision ends without a step of its own: [`Step::Stored`] names it, and the checks after that
/// one passed. Nor do `no_visitor`, `no_id` and `no_variations` have one.
///
/// It shows parts of the config, and the JSON types of the visitor's values; the values themselves
/// only through [`explain_experience_with_values`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The id of the experience.
    pub experience_id: String,
    /// The key of the experience.
    pub experience_key: String,
    /// `stored`, `hashed` or `forced` for a decision, otherwise the reason why there is none.
    pub outcome: &'static str,
    /// The outcome in words: the [`DecisionSource`], or the [`Undecided`].
    pub why: String,
    /// The id of the variation, if there is a decision.
    pub variation_id: Option<String>,
    /// The key of the variation, if there is a decision.
    pub variation_key: Option<String>,
    /// The checks that were made, in order.
    pub steps: Vec<Step>,
}

/// One check of a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Whether the experience is archived.
    Archived {
        /// Archived experiences are never decided.
        archived: bool,
    },
    /// Whether the experience runs in the environment of the SDK.
    Environment {
        /// The environment of the experience; without one it runs everywhere. A value in the config
        /// that is not a string is shown as JavaScript prints it, and matches no environment.
        required: Option<String>,
        /// The environment of the SDK; without one every experience passes.
        given: Option<String>,
        /// Whether the check passed.
        passed: bool,
    },
    /// What was stored for the visitor.
    Stored {
        /// The id of the stored variation.
        variation_id: Option<String>,
        /// Whether the stored variation is no longer in the experience.
        stale: bool,
    },
    /// The locations or the site area of the experience.
    Location {
        /// `none`, `locations` or `site_area`.
        restriction: &'static str,
        /// What was evaluated; evaluation stops at the first match.
        evaluated: Vec<RuleSetTrace>,
        /// Whether the check passed.
        passed: bool,
    },
    /// The audiences of the experience.
    Audiences {
        /// `none`, `any` or `all`.
        matching: &'static str,
        /// The ids of the permanent audiences that were skipped because of a stored decision.
        skipped: Vec<String>,
        /// What was evaluated; evaluation stops once the answer is known.
        evaluated: Vec<RuleSetTrace>,
        /// Whether the check passed.
        passed: bool,
    },
    /// The custom segments of the experience.
    Segments {
        /// The ids of the segments, of which the visitor needs one; an empty list passes everyone.
        required: Vec<String>,
        /// Whether the check passed.
        passed: bool,
    },
    /// The variation that the call requested.
    Forced {
        /// The requested id.
        variation_id: String,
        /// Whether the experience has it.
        found: bool,
    },
    /// The visitor's hash and the variation that owns its bucket.
    Bucketing {
        /// MurmurHash3 of the experience id and the visitor id.
        hash: u32,
        /// The same hash from the `murmur3` crate, an independent implementation; always equal.
        reference_hash: Option<u32>,
        /// The bucket of the hash.
        bucket: u32,
        /// `packed` or `anchored`.
        layout: &'static str,
        /// The buckets of each variation that takes visitors.
        edges: Vec<EdgeTrace>,
        /// The id of the variation that owns the bucket.
        variation_id: Option<String>,
    },
}

/// One location, site area or audience.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuleSetTrace {
    /// The id of the entity; a site area has none.
    pub id: Option<String>,
    /// The key of the entity; a site area has none.
    pub key: Option<String>,
    /// For an audience that depends on another experience: the key of that experience.
    pub other_experience: Option<String>,
    /// Whether the visitor is bucketed into that other experience; `None` if it does not exist.
    pub bucketed: Option<bool>,
    /// The items that were evaluated, in order.
    pub items: Vec<ItemTrace>,
    /// Whether it matched.
    pub matched: bool,
}

/// One item of a rule set.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ItemTrace {
    /// The path of the item, such as `OR[0].AND[1].OR_WHEN[0]`.
    pub path: String,
    /// The name of the attribute; `None` if the one in the config is not a string.
    pub key: Option<String>,
    /// The comparison.
    pub match_type: &'static str,
    /// Whether the comparison is negated.
    pub negated: bool,
    /// The JSON type of the value in the config.
    pub operand_type: &'static str,
    /// The value in the config; `None` if it is absent, or nested more than 127 levels deep.
    pub operand: Option<Value>,
    /// The JSON type of the visitor's value, `absent` if there is none.
    pub attribute_type: &'static str,
    /// The visitor's value, if values were requested and there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<Value>,
    /// `matched`, `not_matched`, or why the item is false even when negated: `absent`,
    /// `incomparable`, `exhausted`, or what is malformed about it.
    pub result: &'static str,
}

/// The buckets of one variation, as a range.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EdgeTrace {
    /// The id of the variation.
    pub variation_id: String,
    /// The start, inclusive.
    pub lower: f64,
    /// The end, exclusive.
    pub upper: f64,
}

/// Decides one experience and explains it; the outcome is that of
/// [`decide_experience`](super::decide_experience).
pub fn explain_experience<D>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
) -> (Result<Decision, Undecided>, Explanation)
where
    D: StoredDecisions + ?Sized,
{
    explain(snapshot, experience, facts, false)
}

/// Like [`explain_experience`], with the visitor's own values in [`ItemTrace::attribute`].
pub fn explain_experience_with_values<D>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
) -> (Result<Decision, Undecided>, Explanation)
where
    D: StoredDecisions + ?Sized,
{
    explain(snapshot, experience, facts, true)
}

fn explain<D>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
    shows_values: bool,
) -> (Result<Decision, Undecided>, Explanation)
where
    D: StoredDecisions + ?Sized,
{
    let mut collector = Collector {
        snapshot,
        experience,
        visitor_id: facts.visitor_id,
        shows_values,
        rules: Value::Null,
        steps: Vec::new(),
        skipped: Vec::new(),
        evaluated: Vec::new(),
    };
    let outcome = experience::decide(snapshot, experience, facts, &mut collector);
    let subject = snapshot.experiences().get(experience);
    let (name, why, variation) = match outcome {
        Ok(Decision { variation, source }) => {
            let name = match source {
                DecisionSource::Stored => "stored",
                DecisionSource::Hashed { .. } => "hashed",
                DecisionSource::Forced => "forced",
            };
            (name, source.to_string(), subject.and_then(|subject| subject.variations.get(variation)))
        }
        Err(why) => (why.code(), why.to_string(), None),
    };
    let explanation = Explanation {
        experience_id: subject.map(|subject| subject.id.to_string()).unwrap_or_default(),
        experience_key: subject.map(|subject| subject.key.to_string()).unwrap_or_default(),
        outcome: name,
        why,
        variation_id: variation.map(|variation| variation.id.to_string()),
        variation_key: variation.map(|variation| variation.key.to_string()),
        steps: collector.steps,
    };
    (outcome, explanation)
}

struct Collector<'a> {
    snapshot: &'a ConfigSnapshot,
    experience: usize,
    visitor_id: &'a str,
    shows_values: bool,
    /// The rules of the entity entered last, as served.
    rules: Value,
    steps: Vec<Step>,
    skipped: Vec<String>,
    evaluated: Vec<RuleSetTrace>,
}

impl Collector<'_> {
    fn enter(&mut self, id: Option<&str>, key: Option<&str>, other_experience: Option<&str>) {
        self.evaluated.push(RuleSetTrace {
            id: id.map(str::to_owned),
            key: key.map(str::to_owned),
            other_experience: other_experience.map(str::to_owned),
            bucketed: None,
            items: Vec::new(),
            matched: false,
        });
    }

    fn leave(&mut self, matched: bool, bucketed: Option<bool>) {
        if let Some(current) = self.evaluated.last_mut() {
            (current.matched, current.bucketed) = (matched, bucketed);
        }
    }
}

fn variation_id(experience: &Experience, variation: Option<usize>) -> Option<String> {
    experience.variations.get(variation?).map(|variation| variation.id.to_string())
}

impl Trace for Collector<'_> {
    fn archived(&mut self, archived: bool) {
        self.steps.push(Step::Archived { archived });
    }

    fn environment(&mut self, experience: &Experience, given: Option<&str>, passed: bool) {
        let required = match &experience.environment {
            Environment::Any => None,
            Environment::Named(required) | Environment::Nowhere(required) => Some(required.to_string()),
        };
        self.steps.push(Step::Environment { required, given: given.map(str::to_owned), passed });
    }

    fn stored(&mut self, experience: &Experience, variation: Option<usize>, stale: bool) {
        self.steps.push(Step::Stored { variation_id: variation_id(experience, variation), stale });
    }

    fn enter_location(&mut self, location: Option<&RuledEntity>) {
        self.rules = match location {
            Some(location) => self.snapshot.served_field(location, "rules"),
            None => self.snapshot.served_field(&self.snapshot.experiences()[self.experience], "site_area"),
        };
        let id = location.map(|location| location.id.as_str());
        self.enter(id, location.map(|location| location.key.as_str()), None);
    }

    fn leave_location(&mut self, matched: bool) {
        self.leave(matched, None);
    }

    fn location(&mut self, experience: &Experience, passed: bool) {
        let restriction = match experience.place {
            Place::Anywhere => "none",
            Place::Locations(_) => "locations",
            Place::SiteArea(_) => "site_area",
        };
        let evaluated = std::mem::take(&mut self.evaluated);
        self.steps.push(Step::Location { restriction, evaluated, passed });
    }

    fn skip_audience(&mut self, audience: &Audience) {
        self.skipped.push(audience.id.to_string());
    }

    fn enter_audience(&mut self, audience: &Audience) {
        self.rules = self.snapshot.served_field(audience, "rules");
        let other = audience.exclusion.as_ref().map(|exclusion| exclusion.experience_key.as_str());
        self.enter(Some(&audience.id), Some(&audience.key), other);
    }

    fn leave_audience(&mut self, matched: bool, bucketed: Option<bool>) {
        self.leave(matched, bucketed);
    }

    fn audiences(&mut self, experience: &Experience, passed: bool) {
        let check = &experience.audiences;
        let matching = match (check.audiences.is_empty(), check.all) {
            (true, _) => "none",
            (false, true) => "all",
            (false, false) => "any",
        };
        let (skipped, evaluated) = (std::mem::take(&mut self.skipped), std::mem::take(&mut self.evaluated));
        self.steps.push(Step::Audiences { matching, skipped, evaluated, passed });
    }

    fn segments(&mut self, required: &[u32], passed: bool) {
        let segments = required.iter().filter_map(|at| self.snapshot.segments().get(*at as usize));
        let required = segments.map(|segment| segment.id.to_string()).collect();
        self.steps.push(Step::Segments { required, passed });
    }

    fn forced(&mut self, variation_id: &str, found: bool) {
        self.steps.push(Step::Forced { variation_id: variation_id.to_owned(), found });
    }

    fn item(&mut self, item: &Item, data: Option<&AttributeValue>, verdict: ItemOutcome) {
        let Some(current) = self.evaluated.last_mut() else { return };
        let [or, and, place] = item.place;
        let operand = self.rules.pointer(&format!("/OR/{or}/AND/{and}/OR_WHEN/{place}/value"));
        current.items.push(ItemTrace {
            path: ItemPath(item.place).to_string(),
            key: item.key.as_deref().map(str::to_owned),
            match_type: item.match_type.as_str(),
            negated: item.negated,
            operand_type: item.operand_type,
            operand: operand.cloned(),
            attribute_type: data.map_or("absent", AttributeValue::type_name),
            attribute: data.filter(|_| self.shows_values).map(Value::from),
            result: match (verdict, &item.test) {
                (_, Test::Never(flaw)) => flaw.message(),
                (ItemOutcome::Matched, _) => "matched",
                (ItemOutcome::NotMatched, _) => "not_matched",
                (ItemOutcome::Absent, _) => "absent",
                (ItemOutcome::Incomparable, _) => "incomparable",
                (ItemOutcome::Exhausted, _) => "exhausted",
                (ItemOutcome::Malformed, _) => "malformed",
            },
        });
    }

    fn bucketed(&mut self, experience: &Experience, hash: u32, bucket: u32, variation: Option<usize>) {
        let edges = experience.layout.edges.iter().map(|edge| EdgeTrace {
            variation_id: variation_id(experience, Some(edge.variation as usize)).unwrap_or_default(),
            lower: edge.lower,
            upper: edge.upper,
        });
        self.steps.push(Step::Bucketing {
            hash,
            reference_hash: self.snapshot.reference_hash(&experience.id, self.visitor_id),
            bucket,
            layout: experience.layout.kind.as_str(),
            edges: edges.collect(),
            variation_id: variation_id(experience, variation),
        });
    }
}
