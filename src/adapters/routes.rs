//! The official routes: their URLs, and what a request to them carries, whoever sends it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::options::{CacheLevel, PROJECT_PLACEHOLDER, TransportConfig};
use crate::ports::{ConfigRequest, TrackingRequest, TransportError};

/// Without it the metrics endpoint takes the events for a bot's and drops them.
pub(super) const USER_AGENT: &str = "ConvertAgent/1.0";

/// How much of the metrics endpoint's answer is read before its connection is given up instead.
pub(super) const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// The most that is read of a packed body which may be so long unpacked. What does not pack well is a little
/// longer on the wire; a body that unpacks to nothing ends here.
pub(super) const fn on_the_wire(limit: u64) -> u64 {
    limit.saturating_add(limit / 8).saturating_add(1024)
}

/// What a query value may hold as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where a config is, or that of one experience.
pub(super) fn config_url(
    config: &TransportConfig,
    request: &ConfigRequest<'_>,
    experience_id: Option<&str>,
) -> String {
    let environment = request.environment.map(|environment| ("environment", environment));
    let token = request.debug_token.map(|token| ("debug_token", token));
    let low_cache = ("_conv_low_cache", "1");
    let query = match experience_id {
        Some(id) => [Some(("exp", id)), Some(low_cache), environment, token],
        None => {
            let low = token.is_some() || request.cache_level == CacheLevel::Low;
            [environment, token, low.then_some(low_cache), None]
        }
    };
    let base = &config.config_base_url;
    format!("{base}/api/v1/config/{}{}", request.sdk_key, encode_query(query.into_iter().flatten()))
}

/// The headers of a config fetch besides those of every client.
pub(super) fn config_headers<'a>(
    config: &'a TransportConfig,
    etag: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    let own = config.headers.iter().map(|(name, value)| (name.as_str(), value.expose().into()));
    let conditional = etag.map(|etag| ("if-none-match", etag.into()));
    let secret = config.auth_secret.as_ref().filter(|_| config.config_base_url.starts_with("https://"));
    let bearer = secret.map(|secret| ("authorization", format!("Bearer {}", secret.expose()).into()));
    [("accept", "application/json".into())].into_iter().chain(own).chain(conditional).chain(bearer)
}

/// Where a batch goes. Ids come from a config: they must not change where a request goes.
pub(super) fn track_url(
    config: &TransportConfig,
    request: &TrackingRequest<'_>,
) -> Result<String, TransportError> {
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\');
    if !request.project_id.chars().all(is_label) || !request.route_key.chars().all(is_path) {
        return Err(TransportError::InvalidRequest);
    }
    let base = config.track_base_url.replace(PROJECT_PLACEHOLDER, request.project_id);
    Ok(format!("{base}/track/{}", request.route_key))
}

/// A `Retry-After`: seconds, or a date, which is seen from the server's own `date` where it gives
/// one, so that a clock that is wrong here does not matter.
pub(super) fn retry_after(asked: &str, date: Option<&str>) -> Option<Duration> {
    let asked = asked.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn encode_query<'a>(query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, QUERY));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_seen_from_the_servers_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(" 120 ", date), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(Duration::ZERO), "over");
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(retry_after(nonsense, date), None, "{nonsense}");
        }
    }
}
