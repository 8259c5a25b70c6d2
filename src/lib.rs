//! Convert Experiences for Rust.

mod actors;
mod attributes;
mod caught;
mod config;
mod context;
mod core;
mod decide;
mod diagnostics;
mod error;
mod events;
mod flush;
mod js;
mod options;
mod preview;
mod results;
mod secret;
mod shared;
mod state;
mod tracking;
mod transport;

pub use actors::{RefreshOutcome, Subscription};
pub use attributes::{AttributeValue, Attributes};
pub use config::{
    BucketOrder, ChangeCounts, ConfigChanges, ConfigError, ConfigSnapshot, ConfigWarning, EntityCounts,
    EntityKind, UnknownEntityKind,
};
pub use context::{Context, ConversionOptions, RunOptions};
pub use core::{Core, CoreBuilder};
pub use decide::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};
pub use diagnostics::{
    DiagnosticReason, EntityDiagnostic, ExperienceDiagnostic, FeatureDiagnostic, GoalDiagnostic,
};
pub use error::{
    ConfirmError, ContextError, HandlerError, InitializeError, LoadError, PreviewError, RefreshError,
};
pub use events::{LifecycleEvent, LifecycleEventKind, VisitorId};
pub use flush::{FlushError, FlushReport};
pub use options::{
    CacheLevel, InvalidOption, InvalidReason, RefreshConfig, RefreshConfigBuilder, SdkConfig,
    SdkConfigBuilder, TransportConfig, TransportConfigBuilder,
};
pub use preview::{PreviewParam, parse_preview_param};
pub use results::{
    ConversionResult, ConversionStatus, CustomSegmentsResult, DecisionSource, ExperienceResult,
    FeatureResult, FeatureStatus,
};
pub use smol_str::SmolStr;
pub use state::{DataStore, InMemoryDataStore, StoreError};
pub use tracking::{
    DeliveryError, Dropped, GoalDataKey, GoalValue, ReleaseReason, Stats, UnknownGoalDataKey,
};
pub use transport::{
    ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError,
};
