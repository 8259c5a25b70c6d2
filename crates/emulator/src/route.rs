//! Maps a path to its route: any path may precede one, and a key may look like a route.

use percent_encoding::percent_decode_str;

use crate::admin::ADMIN_PREFIX;
use crate::projects::Projects;
use crate::received::RouteKind;

const PUBLIC: [(RouteKind, &str); 2] =
    [(RouteKind::Config, "/api/v1/config/"), (RouteKind::Track, "/track/")];

/// What a path refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A resource of the admin API.
    Admin(String),
    /// The admin API's path without its slash.
    Slashless,
    /// A public route and the SDK key at its end, decoded.
    Public(RouteKind, String),
}

/// The first route with a served key; else the admin API; else the last route in the path.
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
        None if path.ends_with(ADMIN_PREFIX.trim_end_matches('/')) => Route::Slashless,
        None => Route::Public(last.0, last.1),
    }
}
