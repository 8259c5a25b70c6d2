//! Why a decision came out as it did: collected by the code that decides, while it decides.

use serde::Serialize;

use super::trace::{Trace, Verdict};
use super::{Decision, DecisionSource, Facts, StoredDecisions, Undecided, experience};
use crate::attributes::AttributeValue;
use crate::config::{
    Audience, ConfigSnapshot, Environment, Experience, Item, ItemPath, Place, RuledEntity, SnapshotExt, Test,
};

/// Why one experience was decided, or not, for one visitor: `outcome` names what settled it, and the steps
/// are the checks that led there.
///
/// The last step is the check that failed, or the one that selected the variation. A `stored` decision has
/// no step of its own at the end: [`Step::Stored`] names it, and the checks after that one passed. Nor have
/// `no_visitor`, `no_id` and `no_variations`.
///
/// It names parts of the config and JSON types, never a value of the visitor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The id of the experience.
    pub experience_id: String,
    /// The key of the experience.
    pub experience_key: String,
    /// `stored`, `hashed` or `forced` for a decision, else the reason why there is none.
    pub outcome: &'static str,
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
        /// Archived experiences decide nothing.
        archived: bool,
    },
    /// Whether the experience runs in the environment of the SDK.
    Environment {
        /// The environment of the experience; an experience without one runs everywhere. A value in the
        /// config that is not a string is shown as JavaScript prints it, and matches no environment.
        required: Option<String>,
        /// The environment of the SDK; none passes every experience.
        given: Option<String>,
        /// Whether the check passed.
        passed: bool,
    },
    /// What was stored for the visitor.
    Stored {
        /// The id of the stored variation.
        variation_id: Option<String>,
        /// Whether a variation is stored that the experience does not have any more.
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
        /// The ids of permanent audiences, which a stored decision passes.
        skipped: Vec<String>,
        /// What was evaluated; evaluation stops when the answer is known.
        evaluated: Vec<RuleSetTrace>,
        /// Whether the check passed.
        passed: bool,
    },
    /// The custom segments of the experience.
    Segments {
        /// The ids of the segments, of which the visitor needs one; none passes everybody.
        required: Vec<String>,
        /// Whether the check passed.
        passed: bool,
    },
    /// The variation that the call asked for.
    Forced {
        /// The id asked for.
        variation_id: String,
        /// Whether the experience has it.
        found: bool,
    },
    /// The visitor's hash and the variation that owns its bucket.
    Bucketing {
        /// MurmurHash3 of the experience id and the visitor id.
        hash: u32,
        /// The same by the `murmur3` crate, an independent implementation: always equal.
        reference_hash: Option<u32>,
        /// The bucket of the hash.
        bucket: u32,
        /// `packed` or `anchored`.
        layout: &'static str,
        /// The buckets of every variation that takes visitors.
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
    /// For an audience that asks for another experience: the key of that experience.
    pub other_experience: Option<String>,
    /// Whether the visitor is bucketed into that other experience; none if it does not exist.
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
    /// Where the item stands, such as `OR[0].AND[1].OR_WHEN[0]`.
    pub path: String,
    /// The name of the attribute; none if the config gives no text.
    pub key: Option<String>,
    /// The comparison.
    pub match_type: &'static str,
    /// Whether the comparison is negated.
    pub negated: bool,
    /// The JSON type of the value in the config.
    pub operand_type: &'static str,
    /// The JSON type of the visitor's value, `absent` if there is none.
    pub attribute_type: &'static str,
    /// `matched`, `not_matched`, or why the item is false whether negated or not: `absent`,
    /// `incomparable`, `exhausted`, or what is malformed about it.
    pub result: &'static str,
}

/// The buckets of one variation: from `lower` up to, and without, `upper`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EdgeTrace {
    /// The id of the variation.
    pub variation_id: String,
    /// The first bucket.
    pub lower: f64,
    /// The end of the buckets.
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
    let mut collector = Collector {
        snapshot,
        visitor_id: facts.visitor_id,
        steps: Vec::new(),
        skipped: Vec::new(),
        evaluated: Vec::new(),
    };
    let outcome = experience::decide(snapshot, experience, facts, &mut collector);
    let subject = snapshot.experiences().get(experience);
    let (name, variation) = match outcome {
        Ok(Decision { variation, source }) => {
            let name = match source {
                DecisionSource::Stored => "stored",
                DecisionSource::Hashed { .. } => "hashed",
                DecisionSource::Forced => "forced",
            };
            (name, subject.and_then(|subject| subject.variations.get(variation)))
        }
        Err(why) => (why.code(), None),
    };
    let explanation = Explanation {
        experience_id: subject.map(|subject| subject.id.to_string()).unwrap_or_default(),
        experience_key: subject.map(|subject| subject.key.to_string()).unwrap_or_default(),
        outcome: name,
        variation_id: variation.map(|variation| variation.id.to_string()),
        variation_key: variation.map(|variation| variation.key.to_string()),
        steps: collector.steps,
    };
    (outcome, explanation)
}

struct Collector<'a> {
    snapshot: &'a ConfigSnapshot,
    visitor_id: &'a str,
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

    fn item(&mut self, item: &Item, data: Option<&AttributeValue>, verdict: Verdict) {
        let Some(current) = self.evaluated.last_mut() else { return };
        current.items.push(ItemTrace {
            path: ItemPath(item.place).to_string(),
            key: item.key.as_deref().map(str::to_owned),
            match_type: item.match_type.as_str(),
            negated: item.negated,
            operand_type: item.operand_type,
            attribute_type: data.map_or("absent", AttributeValue::type_name),
            result: match (verdict, &item.test) {
                (_, Test::Never(flaw)) => flaw.message(),
                (Verdict::Matched, _) => "matched",
                (Verdict::NotMatched, _) => "not_matched",
                (Verdict::Absent, _) => "absent",
                (Verdict::Incomparable, _) => "incomparable",
                (Verdict::Exhausted, _) => "exhausted",
                (Verdict::Malformed, _) => "malformed",
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
