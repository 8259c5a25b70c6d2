//! A core for a test.

use std::ops::Deref;
use std::sync::Arc;

use smol_str::SmolStr;
use thiserror::Error;

use super::recorded::{Recorded, RecordedConversion, RecordedExposure, Recorder};
use crate::config::{ConfigWarning, EntityKind, SnapshotExt};
use crate::core::{Core, CoreBuilder};
use crate::error::{InitializeError, InvalidOption};
use crate::options::{SdkConfig, SdkConfigBuilder};
use crate::visitors::positions;

/// A ready, [offline](SdkConfigBuilder::offline) [`Core`], which it dereferences to; `test.clone()` is a core for the
/// application to own. Independent of every other one, so that tests can run at the same time.
pub struct TestCore {
    core: Core,
    recorder: Recorder,
}

/// Why there is no core for the test.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestCoreError {
    /// An experience names an audience, segment or location that the config does not have, or the test forces an
    /// experience or a variation that it does not have.
    #[error("no {kind} has the key {key:?}")]
    Unknown {
        /// What it was named as.
        kind: EntityKind,
        /// The key.
        key: SmolStr,
    },
    /// The experience has no variation with this key.
    #[error("the experience {experience:?} has no variation {key:?}")]
    UnknownVariation {
        /// The experience's key.
        experience: SmolStr,
        /// The variation's key.
        key: SmolStr,
    },
    /// Two entities of one kind have this key: two audiences or segments, two variations of one experience.
    #[error("more than one {kind} has the key {key:?}")]
    Repeated {
        /// What it was added as.
        kind: EntityKind,
        /// The key.
        key: SmolStr,
    },
    /// The variations of an experience take more than 100 percent of the visitors together, or one takes a share that
    /// is not a number from 0 to 100.
    #[error("the variations of {experience:?} take {percent} % of the visitors")]
    Traffic {
        /// The experience's key.
        experience: SmolStr,
        /// What they take together.
        percent: f64,
    },
    /// A share or a feature was given before the experience had a variation to have it.
    #[error("a share or a feature of {experience:?} comes before its first variation")]
    NoVariation {
        /// The experience's key.
        experience: SmolStr,
    },
    /// A part of the built config could not be used, such as a rule with an invalid regular expression.
    #[error("the built config: {0}")]
    NotUsed(ConfigWarning),
    /// An option was rejected.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// The text is no valid config.
    #[error(transparent)]
    Config(#[from] InitializeError),
    /// A thread for the handlers could not be started.
    #[error(transparent)]
    Thread(#[from] std::io::Error),
}

impl TestCoreError {
    pub(super) fn unknown(kind: EntityKind, key: &str) -> Self {
        Self::Unknown { kind, key: key.into() }
    }

    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::UnknownVariation { .. } => "unknown_key",
            Self::Repeated { .. } => "repeated_key",
            Self::Traffic { .. } => "invalid_traffic",
            Self::NoVariation { .. } => "no_variation",
            Self::NotUsed(_) => "config_part_not_used",
            Self::Option(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Thread(_) => "thread_not_started",
        }
    }
}

impl TestCore {
    /// A core with a config in the format that Convert serves.
    ///
    /// # Errors
    /// The text is no valid config.
    pub fn from_json(config: impl Into<String>) -> Result<Self, TestCoreError> {
        Self::with(SdkConfig::builder().data_json(config), |core| core)
    }

    /// A core with settings and handlers of the test's own; the settings need a config given directly, and are made
    /// [offline](SdkConfigBuilder::offline).
    ///
    /// ```
    /// use convert_sdk::SdkConfig;
    /// use convert_sdk::testing::{TestCore, TestData, TestExperience};
    ///
    /// let checkout = TestExperience::new("checkout").variation("one-page").environment("staging");
    /// let config = SdkConfig::builder().data(&TestData::new().experience(checkout).to_json()?);
    /// let test = TestCore::with(config.environment("production"), |core| core)?;
    /// assert!(test.create_context("visitor-1", ())?.run_experience("checkout").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An option or the config is not valid, or a thread could not be started for the handlers.
    pub fn with(
        config: SdkConfigBuilder,
        build: impl FnOnce(CoreBuilder) -> CoreBuilder,
    ) -> Result<Self, TestCoreError> {
        let recorder = Recorder::default();
        let witness = recorder.clone();
        let builder = build(Core::builder(config.offline().build()?));
        let core =
            builder.witnessed_by(Arc::new(move |config, event| witness.record(config, event))).build()?;
        core.initialize()?;
        Ok(Self { core, recorder })
    }

    /// Gives every visitor this variation, whatever the environment, the rules or earlier decisions say, in contexts
    /// created from now on. Remembered and recorded like any other decision, with the source
    /// [`Forced`](crate::DecisionSource::Forced); features follow.
    ///
    /// # Errors
    /// [`TestCoreError::Unknown`]: the config has no such experience, or the experience no such variation.
    pub fn force(&self, experience_key: &str, variation_key: &str) -> Result<(), TestCoreError> {
        self.force_by(None, experience_key, variation_key)
    }

    /// Like [`force`](Self::force), for one visitor; comes before what is forced for all.
    ///
    /// # Errors
    /// Like [`force`](Self::force).
    pub fn force_for(
        &self,
        visitor_id: &str,
        experience_key: &str,
        variation_key: &str,
    ) -> Result<(), TestCoreError> {
        self.force_by(Some(visitor_id), experience_key, variation_key)
    }

    fn force_by(
        &self,
        visitor_id: Option<&str>,
        experience: &str,
        variation: &str,
    ) -> Result<(), TestCoreError> {
        // It was given directly, so there is always one.
        let config = self.core.current_config();
        let config = config.ok_or_else(|| TestCoreError::unknown(EntityKind::Experience, experience))?;
        if positions(&config, experience, variation).is_none() {
            return Err(match config.experience_index(experience) {
                Some(_) => {
                    TestCoreError::UnknownVariation { experience: experience.into(), key: variation.into() }
                }
                None => TestCoreError::unknown(EntityKind::Experience, experience),
            });
        }
        self.core.shared().forced.set(visitor_id, experience, variation);
        Ok(())
    }

    /// Forces nothing any more, in contexts created from now on. Decisions made meanwhile are remembered.
    pub fn force_nothing(&self) {
        self.core.shared().forced.clear();
    }

    /// What was recorded so far, in order: complete as soon as the recording call has returned. The first 100,000
    /// events are kept.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.recorder.lock().clone()
    }

    /// What was recorded since the last call.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.recorder.lock())
    }

    /// One visitor's exposures so far. Each can be compared with a pair of keys: experience and variation.
    #[must_use]
    pub fn exposures_of(&self, visitor_id: &str) -> Vec<RecordedExposure> {
        let recorded = self.recorder.lock();
        let exposures = recorded.iter().filter_map(|it| match it {
            Recorded::Exposure(exposure) if exposure.visitor_id == visitor_id => Some(exposure.clone()),
            _ => None,
        });
        exposures.collect()
    }

    /// One visitor's conversions so far. Each can be compared with the key of its goal.
    #[must_use]
    pub fn conversions_of(&self, visitor_id: &str) -> Vec<RecordedConversion> {
        let recorded = self.recorder.lock();
        let conversions = recorded.iter().filter_map(|it| match it {
            Recorded::Conversion(conversion) if conversion.visitor_id == visitor_id => {
                Some(conversion.clone())
            }
            _ => None,
        });
        conversions.collect()
    }
}

impl Deref for TestCore {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl std::fmt::Debug for TestCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recorded = self.recorder.lock().len();
        f.debug_struct("TestCore").field("recorded", &recorded).finish_non_exhaustive()
    }
}
