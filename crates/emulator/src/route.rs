//! Which route a path means: any path may come before one, and a key may look like a route.

use percent_encoding::percent_decode_str;

use crate::admin::ADMIN_PREFIX;
use crate::projects::Projects;
use crate::received::RouteKind;

const PUBLIC: [(RouteKind, &str); 2] =
    [(RouteKind::Config, "/api/v1/config/"), (RouteKind::Track, "/track/")];

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A resource of the admin API.
    Admin(String),
    /// A public route and the SDK key at its end, decoded.
    Public(RouteKind, String),
}

/// The first route with a key that is served; else the admin API; else the last route in the path.
pub(crate) fn find_route(path: &str, projects: &mut Projects) -> Route {
    let mut last = (RouteKind::Unknown, String::new());
    for (at, _) in path.match_indices('/') {
        let route =
            PUBLIC.iter().find_map(|(route, marker)| Some((*route, path[at..].strip_prefix(marker)?)));
        let Some((route, key)) = route else { continue };
        last = (route, percent_decode_str(key).decode_utf8_lossy().into_owned());
        if projects.find(&last.1).is_some() {
            return Route::Public(last.0, last.1);
        }
    }
    match path.rsplit_once(ADMIN_PREFIX) {
        Some((_, resource)) => Route::Admin(resource.to_owned()),
        None => Route::Public(last.0, last.1),
    }
}
