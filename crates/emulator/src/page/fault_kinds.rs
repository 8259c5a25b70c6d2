//! Every kind of fault with plausible parameters, for the page's buttons.

use hyper::StatusCode;
use serde::Serialize;

use crate::FaultKind;
use crate::answer::Answer;

/// A button, and the fault that it injects unless its parameters are edited.
#[derive(Serialize)]
pub(crate) struct Offer {
    fault: FaultKind,
    effect: &'static str,
    /// The parameters that it does without: name, and what may be entered.
    optional: &'static [(&'static str, &'static str)],
}

/// All of them, each with its parameters in the order of their declaration, which a `Value` would not keep.
pub(crate) fn answer() -> Answer {
    match serde_json::to_vec(&all()) {
        Ok(text) => Answer::json_text(StatusCode::OK, text.into()),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn all() -> [Offer; 15] {
    let offer = |fault, effect| Offer { fault, effect, optional: &[] };
    [
        Offer {
            optional: &[("retry_after", "seconds or a date")],
            ..offer(FaultKind::status(503), "This status instead of the response.")
        },
        offer(FaultKind::Delay { ms: 2_000 }, "Waits, then continues with the next fault or the response."),
        offer(FaultKind::Hang, "Never responds."),
        offer(FaultKind::Reset, "TCP reset instead of a response."),
        offer(FaultKind::ResetBeforeBody, "The head, then a TCP reset."),
        offer(FaultKind::ResetMidBody, "The head and half of the body, then a TCP reset."),
        offer(FaultKind::TruncatedBody, "Half of the announced body, then a clean close."),
        offer(FaultKind::GarbageBody, "200 with a body that is not JSON."),
        offer(FaultKind::EmptyBody, "200 without a body."),
        offer(FaultKind::HugeBody { bytes: 100_000_000 }, "200 with this many spaces."),
        offer(FaultKind::SlowDrip { bytes: 10, interval_ms: 50 }, "The normal body in small pieces."),
        offer(FaultKind::Redirect { to: "/elsewhere".to_owned() }, "307 to this location."),
        offer(FaultKind::DropAfterRecording, "Records the events, then a TCP reset."),
        Offer {
            optional: &[("list_segment", "such as country")],
            ..offer(
                FaultKind::poisoned_visitor("bad-"),
                "Refuses payloads with such a visitor: by prefix of the id, or a list in a segment.",
            )
        },
        offer(
            FaultKind::GzipBomb { bytes: 2_000_000_000 },
            "200 with a gzip body that decompresses to this many spaces.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_has_a_button() {
        // For an unknown variant, serde's message lists all of them.
        let error = serde_json::from_str::<FaultKind>("\"unknown\"").unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let offered: Vec<&str> = all().map(|offer| offer.fault.name()).to_vec();
        assert_eq!(offered, known);
    }
}
