//! The unit lines: each asks one small question, and many of them share one config.

mod cast;
mod hash;
mod layout;
mod number;
mod preview_param;
mod regex;
mod rule;

use convert_sdk::diagnosis::{Explanation, Step};
use convert_sdk::{Attributes, Core, RunOptions, SdkConfig, SdkConfigBuilder};
use serde::Deserialize;

use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::json;
use crate::surface::{Sdk, Surface, Visitor};
use crate::wire::Wire;

/// What one line adds to the shared config, and its question.
pub(crate) trait Probe {
    /// Adds entities; `at` makes their keys and ids unique.
    fn add(&self, at: usize, config: &mut ConfigText);

    /// Asks the question and compares the result.
    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw>;
}

/// A unit line.
pub(crate) struct Unit(Box<dyn Probe>);

/// Unit lines collected to be asked together.
#[derive(Default)]
pub(crate) struct Batch(Vec<(u64, String, Unit)>);

/// The number and id of a line, and its findings.
pub(crate) type Answered = (u64, String, Findings);

/// The JSON text of a config being built.
#[derive(Default)]
pub(crate) struct ConfigText {
    experiences: Vec<String>,
    audiences: Vec<String>,
    locations: Vec<String>,
    features: Vec<String>,
}

impl Unit {
    /// Reads a line of this kind.
    pub(crate) fn read(kind: &str, text: &str) -> Result<Self, FieldFlaw> {
        fn boxed<'a, T: Probe + Deserialize<'a> + 'static>(text: &'a str) -> Result<Unit, FieldFlaw> {
            Ok(Unit(Box::new(json::parse::<T>(text)?)))
        }
        match kind {
            "rule" => boxed::<rule::Rule>(text),
            "hash" => boxed::<hash::Hash>(text),
            "layout" => boxed::<layout::Layout>(text),
            "cast" => boxed::<cast::Cast>(text),
            "string" => Ok(Self(Box::new(json::parse::<cast::Text>(text)?.into_cast()?))),
            "number" => boxed::<number::Number>(text),
            "preview_param" => boxed::<preview_param::PreviewParam>(text),
            "regex" => boxed::<regex::Regex>(text),
            _ => Err(FieldFlaw::new("kind", format!("`{kind}` is not known"))),
        }
    }
}

impl Batch {
    /// Adds the line of this number and id.
    pub(crate) fn push(&mut self, number: u64, id: String, unit: Unit) {
        self.0.push((number, id, unit));
    }

    /// Answers all collected lines; a failure comes with its line.
    pub(crate) fn answer(&mut self, surface: Surface) -> Result<Vec<Answered>, (u64, FieldFlaw)> {
        let lines = std::mem::take(&mut self.0);
        let Some((first, ..)) = lines.first() else { return Ok(Vec::new()) };
        let mut config = ConfigText::default();
        // Starts at 1: an id of 0 is falsy in JavaScript.
        for (at, (.., unit)) in (1..).zip(&lines) {
            unit.0.add(at, &mut config);
        }
        let core = sdk(config.finish(), surface).map_err(|flaw| (*first, flaw))?;
        let mut answers = Vec::with_capacity(lines.len());
        for (at, (number, id, unit)) in (1..).zip(lines) {
            let mut findings = Findings::default();
            unit.0.ask(at, &core, &mut findings).map_err(|flaw| (number, flaw))?;
            answers.push((number, id, findings));
        }
        Ok(answers)
    }
}

impl ConfigText {
    fn finish(self) -> SdkConfigBuilder {
        let Self { experiences, audiences, locations, features } = self;
        let text = format!(
            r#"{{"account_id":"1","project":{{"id":"2"}},"experiences":[{}],"audiences":[{}],"locations":[{}],"features":[{}]}}"#,
            experiences.join(","),
            audiences.join(","),
            locations.join(","),
            features.join(","),
        );
        SdkConfig::builder().data_json(text)
    }
}

/// A variation that everybody gets.
const EVERYBODY: &str = r#"[{"id":"1","key":"all","traffic_allocation":100}]"#;

/// A core that only decides.
fn sdk(config: SdkConfigBuilder, surface: Surface) -> Result<Sdk, FieldFlaw> {
    let config = config.tracking(false).build();
    let config = config.map_err(|error| FieldFlaw::new(error.field(), error.reason().to_string()))?;
    let core = Core::builder(config).event_sink(Wire::default()).build();
    let core = Sdk::new(core.map_err(|error| FieldFlaw::new("", error.to_string()))?, surface);
    core.initialize().map_err(|error| FieldFlaw::new("", error.to_string()))?;
    Ok(core)
}

/// Leaves no trace, so that lines do not affect each other.
fn quiet() -> RunOptions {
    RunOptions::new().enable_storage(false).enable_tracking(false)
}

/// A context, for the reason of a missing decision.
fn context(core: &Sdk, visitor: &str, attributes: Attributes) -> Result<Visitor, FieldFlaw> {
    core.create_context(visitor, attributes).map_err(|error| FieldFlaw::new("", error.to_string()))
}

/// The step in which the visitor's hash chose a variation.
fn bucketing(explanation: Option<&Explanation>) -> Option<&Step> {
    explanation?.steps.iter().find(|step| matches!(step, Step::Bucketing { .. }))
}
