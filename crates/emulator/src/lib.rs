//! A local stand-in for the config CDN and the metrics endpoint.

mod admin;
mod answer;
mod at;
mod builder;
mod certificate;
mod config;
mod config_route;
mod emulator;
mod envelope;
mod error;
mod exchange;
mod fault;
mod project;
mod projects;
mod received;
mod recorder;
mod script;
mod server;
mod socket;
mod state;
mod track_route;

pub use builder::EmulatorBuilder;
pub use certificate::{CertificateAuthority, ServerCertificate};
pub use emulator::Emulator;
pub use error::{ConfigError, StartError, WaitTimeout};
pub use fault::{Chance, Fault, FaultKind, FaultRoute, RetryAfter};
pub use project::Project;
pub use received::{EventData, Received, ReceivedEvent, ReceivedRequest, RouteKind, Totals};
