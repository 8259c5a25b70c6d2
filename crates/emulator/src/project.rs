//! A project to serve: where its config comes from, its SDK keys and its secret.

use std::path::PathBuf;

/// The config that [`Project::demo`] serves.
pub(crate) const DEMO_CONFIG: &str = include_str!("../projects/demo.json");

/// A project to serve; its config is read when the emulator starts, which reports any error in it.
///
/// It is served under every key added here, and under `{account_id}/{project_id}` unless an earlier project is.
#[derive(Clone, Debug)]
pub struct Project {
    pub(crate) source: ConfigSource,
    pub(crate) sdk_keys: Vec<String>,
    pub(crate) secret: Option<String>,
}

/// Where a config comes from.
#[derive(Clone, Debug)]
pub(crate) enum ConfigSource {
    /// Given once, as text.
    Text(String),
    /// Read at the start and again at every config request.
    File(PathBuf),
}

impl Project {
    /// The SDK key that [`Project::demo`] has by default.
    pub const DEMO_SDK_KEY: &str = "10035569/10034190";

    /// A project with this config: JSON text, or a `serde_json::Value`.
    #[must_use]
    pub fn from_json(config: impl ToString) -> Self {
        Self::new(ConfigSource::Text(config.to_string()))
    }

    /// A project whose config is read from a file, and reloaded whenever the file changes.
    ///
    /// A change that cannot be served is logged, and the last valid config stays.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::new(ConfigSource::File(path.into()))
    }

    /// The sample project: account `10035569`, project `10034190`.
    ///
    /// Six experiences of mixed kinds, three features with all five types of variables, four goals, two custom
    /// segments and the environments `production` and `staging`; the crate's README has the list.
    #[must_use]
    pub fn demo() -> Self {
        Self::from_json(DEMO_CONFIG)
    }

    /// Also serves the project under this SDK key, which may contain a slash.
    #[must_use]
    pub fn sdk_key(mut self, key: impl Into<String>) -> Self {
        self.sdk_keys.push(key.into());
        self
    }

    /// Requires `Authorization: Bearer {secret}` on the config route: 401 without it, 403 with a wrong one.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    fn new(source: ConfigSource) -> Self {
        Self { source, sdk_keys: Vec::new(), secret: None }
    }
}
