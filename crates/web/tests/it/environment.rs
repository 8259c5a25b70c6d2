//! The configuration from variables, which the tests of `convert-runtimes` set for whole processes.

use convert_sdk_web::config_from_env;

#[test]
fn without_a_key_there_is_no_configuration() {
    // The variable may be set where the tests run.
    if std::env::var_os("CONVERT_SDK_KEY").is_none() {
        assert_eq!(config_from_env().err().map(|error| error.code()), Some("environment_no_key"));
    }
}
