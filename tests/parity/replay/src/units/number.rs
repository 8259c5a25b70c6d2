//! JavaScript's `Number()`: as the weight of a variation, read from the edges of the layout.

use convert_sdk::{Attributes, diagnosis::Step};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{ConfigText, Probe, bucketing, context};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::json::{from_number, number};
use crate::surface::Sdk;

/// A line `number`.
///
/// It is asked twice. In a packed layout the weight is the upper edge, but zero, negative numbers and NaN have no edge.
/// In an anchored one NaN weighs 100, and zero or less moves the variation behind it.
#[derive(Deserialize)]
pub(crate) struct Number {
    value: Box<RawValue>,
    expected: Value,
}

/// The first version with an anchored layout.
const ANCHORED: u32 = 12;

impl Number {
    fn expected(&self) -> Result<f64, FieldFlaw> {
        number(&self.expected).ok_or_else(|| FieldFlaw::new("expected", "is not a number"))
    }

    /// The weight of the variation behind: enough to make the total positive.
    fn behind(&self) -> f64 {
        match number(&self.expected) {
            Some(number) if number.is_finite() => number.abs() * 2.0 + 100.0,
            _ => 100.0,
        }
    }
}

impl Probe for Number {
    fn add(&self, at: usize, config: &mut ConfigText) {
        let (value, behind) = (self.value.get(), json!(self.behind()));
        let first = format!(r#"{{"id":"1","key":"first","traffic_allocation":{value}}}"#);
        let second = format!(r#"{{"id":"2","key":"second","traffic_allocation":{behind}}}"#);
        config
            .experiences
            .push(format!(r#"{{"id":"{at}","key":"packed-{at}","version":11,"variations":[{first}]}}"#));
        config.experiences.push(format!(
            r#"{{"id":"a{at}","key":"anchored-{at}","version":{ANCHORED},"variations":[{first},{second}]}}"#
        ));
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        let expected = self.expected()?;
        let packed = packed(expected);
        let anchored = anchored(expected, self.behind());
        for (layout, expected) in [("packed", packed), ("anchored", anchored)] {
            let context = context(core, "visitor", Attributes::new())?;
            let explanation = context.diagnose_experience(&format!("{layout}-{at}")).explanation;
            let actual: Vec<[f64; 2]> = match bucketing(explanation.as_ref()) {
                Some(Step::Bucketing { edges, .. }) => {
                    edges.iter().map(|edge| [edge.lower, edge.upper]).collect()
                }
                _ => Vec::new(),
            };
            findings.check(&format!("number.{layout}"), &written(&expected), &written(&actual));
        }
        Ok(())
    }
}

fn packed(weight: f64) -> Vec<[f64; 2]> {
    if weight > 0.0 { vec![[0.0, weight * 100.0]] } else { Vec::new() }
}

fn anchored(number: f64, behind: f64) -> Vec<[f64; 2]> {
    let weight = if number.is_nan() { 100.0 } else { number };
    let total = weight + behind;
    if total <= 0.0 {
        return Vec::new();
    }
    let mut edges = Vec::with_capacity(2);
    if weight > 0.0 {
        edges.push([0.0, weight * 100.0]);
    }
    let lower = (weight / total) * 10_000.0;
    edges.push([lower, lower + behind * 100.0]);
    edges
}

fn written(edges: &[[f64; 2]]) -> Value {
    edges.iter().map(|edge| edge.iter().copied().map(from_number).collect::<Value>()).collect()
}
