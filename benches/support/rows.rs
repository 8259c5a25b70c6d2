//! The bars: which measured cases make up each ratio, and its limit.

type Ratio = fn(&dyn Fn(&str) -> f64) -> f64;

/// One row of the table in docs/performance.md.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The bar for the ratio of times.
    pub(crate) bar: f64,
    /// The limit of the ratio of instructions: its current value and a small margin.
    pub(crate) gate: f64,
    /// Computes the ratio from the cost of each case.
    pub(crate) ratio: Ratio,
}

/// What a context's first evaluation takes.
fn first_evaluation(cost: &dyn Fn(&str) -> f64) -> f64 {
    cost("context and evaluation") - cost("context")
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "request of a known visitor / floor",
        bar: 2.5,
        gate: 3.3,
        ratio: |cost| cost("request, known") / cost("request floor, known"),
    },
    Row {
        name: "request of a new visitor / floor",
        bar: 2.5,
        gate: 3.25,
        ratio: |cost| cost("request, new") / cost("request floor, new"),
    },
    Row {
        name: "request of a known visitor, with report keys / without",
        bar: 1.15,
        gate: 1.12,
        ratio: |cost| cost("request, known") / cost("request, known, no report keys"),
    },
    Row {
        name: "context of a known visitor, with report keys / without",
        bar: 1.15,
        gate: 1.17,
        ratio: |cost| cost("context with report keys") / cost("context without report keys"),
    },
    Row {
        name: "evaluation by key / floor cached",
        bar: 1.5,
        gate: 1.9,
        ratio: |cost| cost("evaluation by key") / cost("floor cached"),
    },
    Row {
        name: "evaluation by key / floor loaded",
        bar: 1.5,
        gate: 1.5,
        ratio: |cost| cost("evaluation by key") / cost("floor loaded"),
    },
    Row {
        name: "evaluation by handle / floor without lookup",
        bar: 1.2,
        gate: 2.75,
        ratio: |cost| cost("evaluation by handle") / cost("floor without lookup"),
    },
    Row {
        name: "evaluation remembered / floor cached",
        bar: 1.5,
        gate: 1.15,
        ratio: |cost| cost("evaluation remembered") / cost("floor cached"),
    },
    Row {
        name: "context and evaluation / evaluation by key",
        bar: 4.0,
        // A context's first evaluation: later ones find answers to conditions that audiences share.
        gate: 2.8,
        ratio: |cost| cost("context and evaluation") / cost("evaluation by key"),
    },
    Row {
        name: "(first exposure - first evaluation) / bare send",
        bar: 2.0,
        gate: 7.25,
        ratio: |cost| (cost("first exposure") - first_evaluation(cost)) / cost("bare send"),
    },
    Row {
        name: "(first exposure, not remembered - first evaluation) / bare send",
        bar: 2.0,
        gate: 2.8,
        ratio: |cost| (cost("first exposure, not remembered") - first_evaluation(cost)) / cost("bare send"),
    },
    Row {
        name: "conversion / bare send",
        bar: 2.0,
        // Includes the note that spares the visitor's later requests their conversions.
        gate: 5.6,
        ratio: |cost| cost("conversion") / cost("bare send"),
    },
    Row {
        name: "run_experiences over 100 / 100 evaluations by key",
        bar: 1.2,
        gate: 1.2,
        ratio: |cost| cost("run_experiences over 100") / cost("100 evaluations by key"),
    },
    Row {
        name: "feature with five variables / evaluation of its experience",
        bar: 2.0,
        gate: 2.0,
        ratio: |cost| cost("feature with five variables") / cost("evaluation of the feature's experience"),
    },
    Row {
        name: "config of 1,000, bytes to snapshot / to plain structs",
        bar: 2.0,
        gate: 2.05,
        ratio: |cost| cost("config, snapshot") / cost("config, plain structs"),
    },
    Row {
        name: "growth: evaluation among 10,000 experiences / among 10",
        bar: 1.2,
        gate: 1.2,
        ratio: |cost| cost("evaluation among 10,000") / cost("evaluation among 10"),
    },
    Row {
        name: "growth: evaluation of 100 rules / of 10",
        bar: 10.0,
        gate: 3.5,
        ratio: |cost| cost("evaluation of 100 rules") / cost("evaluation of 10 rules"),
    },
    Row {
        name: "growth: context beside 50,000 remembered visitors / beside none",
        bar: 1.5,
        gate: 1.5,
        ratio: |cost| cost("context, 50,000 visitors remembered") / cost("context"),
    },
];
