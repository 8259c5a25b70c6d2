//! One whole request: prepares the visitor, then compares part after part.

use serde_json::json;

use crate::error::Trouble;
use crate::findings::{Findings, JAVASCRIPT_THROWS};
use crate::json::is_throw;
use crate::line::RequestLine;
use crate::parts::{Parts, is_no_visitor};
use crate::prepared::{Fresh, Prepared, decision};
use crate::subject::Subject;
use crate::{features, preview, sequence};

/// Runs a line and compares the results with the expected ones.
///
/// Every part starts from the prepared state without undoing another: single decisions are not stored; the prepared
/// state is stored before the other parts' contexts are created, all of them before the first evaluates; the sequence
/// comes last.
pub(crate) fn replay(
    subject: &mut Subject,
    line: &RequestLine<'_>,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let Some(ready) = subject.ready(findings) else { return Ok(()) };
    let request = &line.request;
    let mut parts = Parts::new(line, &ready.served, findings);
    let prepared = Prepared::new(ready, request)?;
    if let Some(expected) = parts.take("custom_segments") {
        let nothing = request.visitor_id.is_empty() && is_no_visitor(&expected);
        let expected = if nothing { json!({"matched": []}) } else { expected };
        findings.check("custom_segments", &expected, &json!({"matched": prepared.matched}));
    }
    if let Some(expected) = parts.take_object("decisions")? {
        let quiet = prepared.options.clone().enable_storage(false).enable_tracking(false);
        for (key, expected) in &expected {
            let actual = decision(&prepared.context, key, &quiet);
            if is_throw(expected) {
                findings.leave_out(JAVASCRIPT_THROWS);
            } else {
                findings.check_decision("decisions", key, expected, &actual);
            }
        }
    }
    if parts.has_any(&["preview", "features", "run_features"]) {
        let fresh = Fresh::new(ready, request, &prepared)?;
        if let (Some(expected), Some(call)) = (parts.take_object("preview")?, &request.preview) {
            preview::compare(ready, &fresh, call, line, expected, findings)?;
        }
        features::compare(ready, &fresh, line, &mut parts, findings)?;
    }
    if parts.has_any(&sequence::PARTS) {
        sequence::compare(ready, &prepared, request, &mut parts, findings)?;
    }
    Ok(parts.finish()?)
}
