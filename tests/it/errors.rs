//! Error messages: each thing once, complete, and without secrets.

use std::error::Error;
use std::io::ErrorKind;
use std::iter::successors;
use std::time::Duration;

use convert_emulator::{Fault, FaultKind};
use convert_sdk::{
    ContextError, InitializeError, SdkConfig,
    config::TransportConfig,
    error::{ConfigCacheError, ConfigError, LoadError, LookupError, PreviewError, RefreshError},
    ports::{StoreError, TransportError},
};

use crate::support::{KEY, PATIENCE, convert, direct, keyed, serve, start, unready};

fn transport_errors() -> Vec<TransportError> {
    vec![
        TransportError::Connect,
        TransportError::Unreachable("localhost:443".into()),
        TransportError::Tls("unknown issuer".into()),
        TransportError::Timeout("connecting"),
        TransportError::Broken(ErrorKind::UnexpectedEof),
        TransportError::Status(404),
        TransportError::Status(500),
        TransportError::TooLarge(1024),
        TransportError::NotText,
        TransportError::Protocol,
        TransportError::InvalidRequest,
        TransportError::Interrupted,
        TransportError::Unsupported,
        TransportError::NoClient,
        TransportError::Panicked,
        TransportError::Other("no bus".into()),
    ]
}

/// One of each kind that can wrap another error, and some that cannot.
fn errors() -> Vec<Box<dyn Error>> {
    let loads: Vec<LoadError> = transport_errors()
        .into_iter()
        .map(LoadError::from)
        .chain([LoadError::from(ConfigError::ServedError), LoadError::OtherProject, LoadError::NotAccepted])
        .collect();
    let core = start(direct());
    convert(&core, 0..1);
    core.close();
    let mut errors: Vec<Box<dyn Error>> = vec![
        Box::new(ConfigError::NotAnObject),
        Box::new(ContextError::NotReady),
        Box::new(LookupError::NotInConfig),
        Box::new(ConfigCacheError::Write(ErrorKind::StorageFull)),
        Box::new(InitializeError::Thread(ErrorKind::WouldBlock)),
        Box::new(RefreshError::DirectConfig),
        Box::new(PreviewError::VariationNotFound),
        Box::new(StoreError::new("is gone")),
        Box::new(core.flush(Duration::ZERO).unwrap_err()),
        Box::new(SdkConfig::builder().build().unwrap_err()),
        Box::new(TransportConfig::builder().max_response_bytes(1).build().unwrap_err()),
    ];
    for error in transport_errors() {
        errors.push(Box::new(error));
    }
    for load in loads {
        errors.push(Box::new(InitializeError::from(load.clone())));
        errors.push(Box::new(RefreshError::from(load.clone())));
        errors.push(Box::new(PreviewError::Fetch(load.clone())));
        errors.push(Box::new(load));
    }
    errors
}

#[test]
fn a_chain_of_sources_says_everything_once() {
    for error in errors() {
        let chain: Vec<String> =
            successors(Some(error.as_ref()), |&error| error.source()).map(ToString::to_string).collect();
        for pair in chain.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{}", chain.join(": "));
        }
        let parts: Vec<&str> = chain[0].split(": ").collect();
        assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "{}", chain[0]);
    }
}

#[test]
fn a_message_is_complete_by_itself() {
    for cause in transport_errors().into_iter().map(|error| (error.to_string(), LoadError::from(error))) {
        let (text, load) = cause;
        assert!(InitializeError::from(load.clone()).to_string().contains(&text), "{text}");
        assert!(PreviewError::Fetch(load).to_string().contains(&text), "{text}");
    }
}

#[test]
fn a_missing_config_has_the_same_message_everywhere() {
    assert_eq!(LookupError::NotReady.to_string(), ContextError::NotReady.to_string());
}

#[test]
fn a_rejected_sdk_key_is_named_as_such_but_not_shown() {
    let emulator = serve();
    for (status, expected) in
        [(401, "secret"), (403, "refused"), (404, "not found"), (410, "no longer valid")]
    {
        emulator.inject(Fault::config(FaultKind::status(status)));
        let core = unready(keyed(&emulator));
        let initialize = core.initialize().unwrap_err().to_string();
        let refresh = core.refresh_now_within(PATIENCE).unwrap_err().to_string();
        for text in [initialize, refresh] {
            let number = status.to_string();
            assert!(["SDK key", expected, &number].iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains(KEY), "{text}");
        }
        emulator.clear_faults();
    }
    emulator.inject(Fault::config(FaultKind::status(500)));
    let text = unready(keyed(&emulator)).initialize().unwrap_err().to_string();
    assert!(!text.contains("key"), "{text}");
}
