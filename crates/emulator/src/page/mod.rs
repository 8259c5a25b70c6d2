//! The page under `/__admin/`: shows in a browser what the emulator serves and receives, and its faults.

mod decide;
mod fault_kinds;
mod live;
mod project;

use hyper::Method;

use crate::answer::Answer;
use crate::guard::AdminRequest;
use crate::state::State;

/// The page's files by resource.
const FILES: [(&str, &str, &str); 5] = [
    ("", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("../../page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../page/page.js")),
    ("dom.js", "text/javascript; charset=utf-8", include_str!("../../page/dom.js")),
    ("steps.js", "text/javascript; charset=utf-8", include_str!("../../page/steps.js")),
];

/// The answer to a request for the page or a resource that only the page uses; `None` for any other.
pub(crate) async fn answer(state: &State, request: &AdminRequest<'_>) -> Option<Answer> {
    let get = request.method == Method::GET;
    if let Some((_, media_type, text)) = FILES.iter().find(|(resource, ..)| *resource == request.resource) {
        return Some(if get { Answer::file(media_type, text) } else { Answer::method_not_allowed() });
    }
    Some(match (request.method, request.resource) {
        (&Method::GET, "live") => live::answer(state, request).await,
        (&Method::GET, "fault_kinds") => fault_kinds::answer(),
        (&Method::GET, "project") => project::show(state, request),
        (&Method::POST, "project") => project::replace(state, request),
        (&Method::POST, "check") => project::check(state, request),
        (&Method::POST, "decide") => decide::answer(state, request.body),
        (_, "live" | "fault_kinds" | "project" | "check" | "decide") => Answer::method_not_allowed(),
        _ => return None,
    })
}
