//! The configuration from the variables of the process.

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;

use thiserror::Error;

use super::proxy::of_environment;
use super::{InvalidOption, SdkConfig, SdkConfigBuilder, TransportConfig, TransportConfigBuilder};

/// Why the variables of the process give no configuration. Names the variable, and shows no value but a file's path.
#[derive(Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// `CONVERT_SDK_KEY` is not set.
    #[error("CONVERT_SDK_KEY is not set")]
    NoKey,
    /// This variable is not Unicode.
    #[error("{0} is not Unicode")]
    NotUnicode(&'static str),
    /// The file that `CONVERT_CA_FILE` names cannot be read.
    #[error("CONVERT_CA_FILE: {} could not be read ({kind})", path.display())]
    Authority {
        /// The path, as given.
        path: PathBuf,
        /// The kind of I/O error.
        kind: ErrorKind,
    },
    /// A URL or the CA certificate was rejected.
    #[error("{}: {}", variable_of(.0.field()), .0.reason())]
    Invalid(#[from] InvalidOption),
}

impl EnvironmentError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "environment_no_key",
            Self::NotUnicode(_) => "environment_not_unicode",
            Self::Authority { .. } => "environment_authority",
            Self::Invalid(_) => "environment_invalid",
        }
    }
}

impl SdkConfig {
    /// Starts with what the variables of the process say, and the official Python SDK's defaults otherwise. An unset or empty
    /// variable leaves its default.
    ///
    /// | variable | setting |
    /// |---|---|
    /// | `CONVERT_SDK_KEY` | [`sdk_key`](SdkConfigBuilder::sdk_key); required |
    /// | `CONVERT_ENVIRONMENT` | [`environment`](SdkConfigBuilder::environment) |
    /// | `CONVERT_CONFIG_ENDPOINT`, `CONVERT_TRACK_ENDPOINT` | where configs come from and events go; default Convert's own |
    /// | `CONVERT_CA_FILE` | a file with PEM certificates of authorities to trust in addition to the usual ones |
    /// | `CONVERT_PROXY` | [`proxy`](crate::config::TransportConfigBuilder::proxy) for both endpoints |
    ///
    /// `convert-emulator` prints those that lead to it. Reads a file, so call it when the program starts. A later
    /// [`transport`](SdkConfigBuilder::transport) replaces the endpoints, the authorities and the proxy.
    ///
    /// ```no_run
    /// use convert_sdk::{Core, SdkConfig};
    ///
    /// let core = Core::new(SdkConfig::from_env()?.for_server().build()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is no key, or a value was rejected; [`build`](SdkConfigBuilder::build) rejects others.
    pub fn from_env() -> Result<SdkConfigBuilder, EnvironmentError> {
        from_variables(env::var)
    }
}

impl TransportConfig {
    /// The endpoints, authorities and proxy that [`SdkConfig::from_env`] reads, without the others.
    ///
    /// # Errors
    /// A file cannot be read, or a variable is not Unicode; [`build`](TransportConfigBuilder::build) rejects others.
    pub fn from_env() -> Result<TransportConfigBuilder, EnvironmentError> {
        network(&get(&env::var))
    }
}

impl TransportConfigBuilder {
    /// The proxy that the variables of the process name, read by this call: the first of `HTTPS_PROXY`, `https_proxy`,
    /// `ALL_PROXY` and `all_proxy` that is not empty. Without one, the setting stays as it was.
    ///
    /// Hosts in `NO_PROXY`, or else `no_proxy`, are reached directly: names separated by commas, each of which includes
    /// its subdomains (with or without a leading `.` or `*.`), addresses, or `*` for all.
    pub fn proxy_from_env(mut self) -> Self {
        self.proxy = of_environment(|name| env::var_os(name)).or(self.proxy);
        self
    }
}

/// The variable that an option's value comes from.
fn variable_of(field: &'static str) -> &'static str {
    match field {
        "transport.config_base_url" => "CONVERT_CONFIG_ENDPOINT",
        "transport.track_base_url" => "CONVERT_TRACK_ENDPOINT",
        "transport.root_certificate_pem" => "CONVERT_CA_FILE",
        "transport.proxy" => "CONVERT_PROXY",
        field => field,
    }
}

/// Reads a variable by its name; an empty one counts as unset.
type Get<'a> = dyn Fn(&'static str) -> Result<Option<String>, EnvironmentError> + 'a;

fn get(
    variable: &impl Fn(&'static str) -> Result<String, env::VarError>,
) -> impl Fn(&'static str) -> Result<Option<String>, EnvironmentError> {
    move |name| match variable(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(EnvironmentError::NotUnicode(name)),
    }
}

fn from_variables(
    variable: impl Fn(&'static str) -> Result<String, env::VarError>,
) -> Result<SdkConfigBuilder, EnvironmentError> {
    let get = get(&variable);
    let mut config = SdkConfig::builder().sdk_key(get("CONVERT_SDK_KEY")?.ok_or(EnvironmentError::NoKey)?);
    if let Some(environment) = get("CONVERT_ENVIRONMENT")? {
        config = config.environment(environment);
    }
    Ok(config.transport(network(&get)?.build()?))
}

fn network(get: &Get<'_>) -> Result<TransportConfigBuilder, EnvironmentError> {
    let mut transport = TransportConfig::builder();
    if let Some(url) = get("CONVERT_CONFIG_ENDPOINT")? {
        transport = transport.config_base_url(url);
    }
    if let Some(url) = get("CONVERT_TRACK_ENDPOINT")? {
        transport = transport.track_base_url(url);
    }
    if let Some(path) = get("CONVERT_CA_FILE")? {
        let path = PathBuf::from(path);
        let read = std::fs::read(&path);
        let pem = read.map_err(|error| EnvironmentError::Authority { path, kind: error.kind() })?;
        transport = transport.root_certificate_pem(pem);
    }
    if let Some(url) = get("CONVERT_PROXY")? {
        transport = transport.proxy(url);
    }
    Ok(transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<SdkConfig, EnvironmentError> {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let builder =
            from_variables(|name| get(name).map(|it| it.1.to_owned()).ok_or(env::VarError::NotPresent))?;
        Ok(builder.build()?)
    }

    #[test]
    fn variables_become_settings() {
        let config = from(&[
            ("CONVERT_SDK_KEY", "1/2"),
            ("CONVERT_ENVIRONMENT", "staging"),
            ("CONVERT_CONFIG_ENDPOINT", "https://cdn.example.com"),
            ("CONVERT_TRACK_ENDPOINT", "https://track.example.com/v1"),
            ("CONVERT_PROXY", "http://proxy.example.com:3128"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.tuning.environment.as_deref(), Some("staging"));
        assert_eq!(&*config.transport.config_base_url, "https://cdn.example.com");
        assert_eq!(&*config.transport.track_base_url, "https://track.example.com/v1");
        assert_eq!(config.transport.proxy_url(), Some("http://proxy.example.com:3128"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let config = from(&[("CONVERT_SDK_KEY", "1/2"), ("CONVERT_ENVIRONMENT", "")]).unwrap();
        assert_eq!(config.tuning.environment, None);
        assert_eq!(from(&[("CONVERT_SDK_KEY", "")]).unwrap_err().code(), "environment_no_key");
    }

    #[test]
    fn a_bad_variable_is_named_and_only_a_path_is_shown() {
        let refused = |name, value| from(&[("CONVERT_SDK_KEY", "1/2"), (name, value)]).unwrap_err();
        for name in ["CONVERT_CONFIG_ENDPOINT", "CONVERT_TRACK_ENDPOINT", "CONVERT_PROXY"] {
            let url = refused(name, "ftp://secret.example.com").to_string();
            assert!(url.starts_with(&format!("{name}: ")) && !url.contains("secret"), "{url}");
        }
        let no_pem = refused("CONVERT_CA_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert_eq!(no_pem.to_string(), "CONVERT_CA_FILE: contains no valid PEM certificate");
        let no_file = refused("CONVERT_CA_FILE", "/no/such/file");
        assert_eq!(
            no_file.to_string(),
            "CONVERT_CA_FILE: /no/such/file could not be read (entity not found)"
        );
        assert_eq!(no_file.code(), "environment_authority");
        let not_unicode = || Err(env::VarError::NotUnicode("secret".into()));
        let error = from_variables(|_| not_unicode()).unwrap_err();
        assert_eq!(error.to_string(), "CONVERT_SDK_KEY is not Unicode");
    }
}
