//! The text of the config cache: a line with a checksum, a line with what belongs to the config, and the config.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::{HMAC, Hash};
use serde::{Deserialize, Serialize};

use crate::config::ConfigSnapshot;
use crate::error::ConfigCacheError;
use crate::options::Secret;

/// The start of the first line, followed by the checksum of the second one.
const MAGIC: &str = "convert-config-cache 1 ";

/// In bytes, of both lines: an ETag of 8 KiB, escaped, and ids.
pub(super) const LONGEST_HEADER: u64 = 64 << 10;

/// Whose config it is, without telling the SDK key.
pub(crate) struct Owner(String);

/// What was stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) text: String,
    pub(super) etag: Option<String>,
    pub(super) at: SystemTime,
}

#[derive(Serialize, Deserialize)]
struct Header {
    owner: String,
    /// In milliseconds since 1970.
    confirmed_at: u64,
    etag: Option<String>,
    /// For people who look at the file.
    account_id: String,
    project_id: String,
    bytes: u64,
    sha256: String,
}

impl Owner {
    /// Whatever decides which config is served for a key.
    pub(crate) fn new(key: &Secret, environment: Option<&str>, debug_token: Option<&Secret>) -> Self {
        let mut hash = HMAC::new(key.expose());
        for part in [environment, debug_token.map(Secret::expose)] {
            hash.update([u8::from(part.is_some())]);
            hash.update((part.unwrap_or_default().len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        Self(hex(&hash.finalize()))
    }
}

pub(super) fn encode(
    config: &ConfigSnapshot,
    etag: Option<&str>,
    at: SystemTime,
    Owner(owner): &Owner,
) -> Vec<u8> {
    let text = config.served_text();
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = Header {
        owner: owner.clone(),
        confirmed_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        etag: etag.map(str::to_owned),
        account_id: config.account_id().to_owned(),
        project_id: config.project_id().to_owned(),
        bytes: text.len() as u64,
        sha256: hex(&Hash::hash(text.as_bytes())),
    };
    // Strings and numbers always become JSON.
    let header = serde_json::to_string(&header).unwrap_or_default();
    let checksum = hex(&Hash::hash(header.as_bytes()));
    [MAGIC, &checksum, "\n", &header, "\n", text].concat().into_bytes()
}

pub(super) fn decode(bytes: Vec<u8>, owner: &Owner) -> Result<Stored, ConfigCacheError> {
    let damaged = ConfigCacheError::Damaged;
    let mut all = String::from_utf8(bytes).map_err(|_| ConfigCacheError::Damaged)?;
    let mut lines = all.splitn(3, '\n');
    let (Some(first), Some(header), Some(text)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(damaged);
    };
    if first.strip_prefix(MAGIC) != Some(&*hex(&Hash::hash(header.as_bytes()))) {
        return Err(damaged);
    }
    let found: Header = serde_json::from_str(header).map_err(|_| ConfigCacheError::Damaged)?;
    if found.owner != owner.0 {
        return Err(ConfigCacheError::Foreign);
    }
    if found.bytes != text.len() as u64 || found.sha256 != hex(&Hash::hash(text.as_bytes())) {
        return Err(damaged);
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(found.confirmed_at)).ok_or(damaged)?;
    let text = all.split_off(all.len() - text.len());
    Ok(Stored { text, etag: found.etag, at })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
