//! The provider.

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_sdk::delivery::FlushReport;
use convert_sdk::{
    AsyncContext, AsyncCore, Context, ContextError, FeatureOff, FeatureResult, FlushError, InitializeError,
};
use open_feature::provider::{FeatureProvider, ProviderMetadata, ProviderStatus, ResolutionDetails};
use open_feature::{
    EvaluationContext, EvaluationError, EvaluationErrorCode, EvaluationResult, StructValue, async_trait,
};
use serde_json::Value as Json;

use crate::details::{error, not_carried, of_experience, of_feature, off, undecided};
use crate::value::structure;
use crate::visitor::Visitor;

/// Answers OpenFeature's clients with the decisions of an [`AsyncCore`]. Clones are cheap and share the
/// provider: give one to OpenFeature, and keep one for [`track`](Self::track) and
/// [`shutdown`](Self::shutdown), which the crate's clients lack.
///
/// | flag key | type | value |
/// |---|---|---|
/// | `feature` | boolean | whether the visitor has the feature |
/// | `feature` | structure | all variables of the feature |
/// | `feature.variable` | boolean, integer, float, string, structure | the variable's value; nothing is converted, but an integer is a float too |
/// | `experience:key` | string | the key of the visitor's variation; its id if the config gives it no key |
///
/// As with [`run_feature`](Context::run_feature), every experience that is evaluated on the way is decided
/// and reported. A flag key is split at the first of its dots (up to eight are tried) that follows the key of
/// a feature. A structure leaves out null fields; a list that contains a null is a `TYPE_MISMATCH`.
///
/// | evaluation context | visitor |
/// |---|---|
/// | targeting key | the visitor's id |
/// | structure `location` | location attributes |
/// | structure `segments` | segments: report keys, remembered for the visitor |
/// | any other field | an attribute; a date becomes milliseconds since 1970 |
///
/// A structure is a [`StructValue`], [`Attributes`](convert_sdk::Attributes) or a `serde_json` object; any
/// other type is `INVALID_CONTEXT`. A `location` or `segments` field that is not a structure is an ordinary
/// attribute.
///
/// | reason | when |
/// |---|---|
/// | `SPLIT` | this call bucketed the visitor |
/// | `CACHED` | the decision was made earlier and remembered |
/// | `TARGETING_MATCH` | the variation was forced |
/// | `DEFAULT` | the visitor does not have the feature or takes no part in the experience |
/// | `DISABLED` | the experience is archived, has no variations, or runs in another environment |
///
/// | error | when |
/// |---|---|
/// | `FLAG_NOT_FOUND` | the config has no such feature or experience, or the visitor's variation no such variable |
/// | `TYPE_MISMATCH` | the flag has a value of another type |
/// | `PROVIDER_NOT_READY` | there is no config yet, it is [too old](convert_sdk::SdkConfigBuilder::max_stale), or the core is closed |
/// | `TARGETING_KEY_MISSING` | it is missing or empty |
/// | `General("DEFAULT")`, `General("DISABLED")` | there is no value to return, for that reason |
///
/// The last row is a workaround for the `open-feature` crate, which does not pass the application's default
/// value to a provider. Where other languages return the default with the reason `DEFAULT`, this is an error,
/// and the application's `unwrap_or` supplies the default. A feature's boolean is `false` with the reason
/// instead.
#[derive(Clone)]
pub struct ConvertProvider {
    core: AsyncCore,
    metadata: ProviderMetadata,
    /// Why this clone's `initialize` failed.
    failure: Option<InitializeError>,
    /// Whether any clone was shut down.
    ended: Arc<AtomicBool>,
}

impl ConvertProvider {
    /// The name in the metadata.
    pub const NAME: &str = "convert";

    /// The most dots in a flag key before which a feature key is looked for.
    const MOST_DOTS: usize = 8;

    /// A provider for this core. The crate cannot report that `initialize` failed, so await
    /// [`AsyncCore::initialize`] first; otherwise `set_provider` does, and all evaluations wait for it.
    #[must_use]
    pub fn new(core: AsyncCore) -> Self {
        let metadata = ProviderMetadata::new(Self::NAME);
        Self { core, metadata, failure: None, ended: Arc::new(AtomicBool::new(false)) }
    }

    /// The core, for what OpenFeature does not cover.
    #[must_use]
    pub const fn core(&self) -> &AsyncCore {
        &self.core
    }

    /// Delivers what was recorded and closes the core, like [`AsyncCore::shutdown`]. The provider is not
    /// ready afterwards. `OpenFeature::shutdown` only drops its provider, which delivers nothing.
    ///
    /// # Errors
    /// Like [`AsyncCore::shutdown`].
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.ended.store(true, Ordering::Release);
        self.core.shutdown(timeout).await
    }

    /// The visitor that a context describes.
    pub(crate) async fn visitor(&self, context: &EvaluationContext) -> EvaluationResult<AsyncContext> {
        if !self.core.is_ready() {
            return Err(self.not_ready(ContextError::NotReady));
        }
        let Visitor { id, attributes, location, segments } = Visitor::of(context)?;
        let visitor = self.core.create_context(id, attributes).await;
        let mut visitor = visitor.map_err(|error| self.not_ready(error))?;
        if let Some(location) = location {
            visitor.set_location(location);
        }
        if let Some(segments) = segments {
            visitor.set_segments(segments);
        }
        Ok(visitor)
    }

    #[cold]
    fn not_ready(&self, why: ContextError) -> EvaluationError {
        let message = match (why, &self.failure) {
            (ContextError::NotReady, Some(failure)) => failure.to_string(),
            _ => why.to_string(),
        };
        error(EvaluationErrorCode::ProviderNotReady, message)
    }

    /// A variable's value, converted by `read`.
    async fn variable<T>(
        &self,
        key: &str,
        context: &EvaluationContext,
        read: impl for<'a> Fn(FeatureResult<'a>, &str) -> Option<T> + Send,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let visitor = self.visitor(context).await?;
        let flag = Flag::find(&self.core, &visitor, key)?;
        let name = flag.variable.ok_or_else(|| mismatch("a feature is a boolean or a structure"))?;
        flag.read(name, read)
    }
}

/// A feature or one of its variables, as the visitor has it.
struct Flag<'v, 'k> {
    feature: Option<FeatureResult<'v>>,
    variable: Option<&'k str>,
}

impl<'v, 'k> Flag<'v, 'k> {
    fn find(core: &AsyncCore, visitor: &'v Context, key: &'k str) -> EvaluationResult<Self> {
        if experience(key).is_some() {
            return Err(mismatch("an experience is a string"));
        }
        let dots = key.match_indices('.').take(ConvertProvider::MOST_DOTS);
        let split = dots.map(|(at, _)| (&key[..at], Some(&key[at + 1..])));
        // Running a feature that the config does not have is told in the log, so the names are looked up first.
        let mut known = iter::once((key, None)).chain(split);
        let known = known.find_map(|(name, variable)| Some((core.feature(name).ok()?, variable)));
        let (found, variable) = match known {
            Some((feature, variable)) => (visitor.run_feature(&feature), variable),
            None => (visitor.run_feature(key), None),
        };
        match found {
            Ok(feature) => Ok(Self { feature: Some(feature), variable }),
            Err(FeatureOff::NotCarried) => Ok(Self { feature: None, variable }),
            Err(why @ FeatureOff::Withdrawn) => {
                Err(error(EvaluationErrorCode::ProviderNotReady, why.to_string()))
            }
            Err(why) => Err(error(EvaluationErrorCode::FlagNotFound, why.to_string())),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl for<'a> Fn(FeatureResult<'a>, &str) -> Option<T>,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let feature = self.feature.ok_or_else(not_carried)?;
        match read(feature, name) {
            Some(value) => Ok(of_feature(value, feature)),
            None if feature.variable(name).is_some() => Err(mismatch("the variable is of another type")),
            None => {
                let message = "the visitor's variation has no such variable";
                Err(error(EvaluationErrorCode::FlagNotFound, message))
            }
        }
    }
}

/// The key of the experience that a flag key names.
fn experience(flag_key: &str) -> Option<&str> {
    flag_key.strip_prefix("experience:")
}

fn mismatch(message: &str) -> EvaluationError {
    error(EvaluationErrorCode::TypeMismatch, message)
}

#[async_trait]
impl FeatureProvider for ConvertProvider {
    async fn initialize(&mut self, _: &EvaluationContext) {
        self.failure = self.core.initialize().await.err();
    }

    fn status(&self) -> ProviderStatus {
        match &self.failure {
            _ if self.ended.load(Ordering::Acquire) => ProviderStatus::NotReady,
            _ if self.core.is_ready() => ProviderStatus::Ready,
            Some(_) => ProviderStatus::Error,
            None => ProviderStatus::NotReady,
        }
    }

    fn metadata(&self) -> &ProviderMetadata {
        &self.metadata
    }

    async fn resolve_bool_value(
        &self,
        flag_key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        let visitor = self.visitor(context).await?;
        let flag = Flag::find(&self.core, &visitor, flag_key)?;
        match flag.variable {
            Some(name) => flag.read(name, |feature, name| feature.boolean(name)),
            None => Ok(flag.feature.map_or_else(off, |feature| of_feature(true, feature))),
        }
    }

    async fn resolve_int_value(
        &self,
        flag_key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.variable(flag_key, context, |feature, name| feature.integer(name)).await
    }

    async fn resolve_float_value(
        &self,
        flag_key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.variable(flag_key, context, |feature, name| feature.float(name)).await
    }

    async fn resolve_string_value(
        &self,
        flag_key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        match experience(flag_key) {
            Some(key) => {
                let visitor = self.visitor(context).await?;
                visitor.run_experience(key).map(of_experience).map_err(undecided)
            }
            None => {
                self.variable(flag_key, context, |feature, name| feature.string(name).map(str::to_owned))
                    .await
            }
        }
    }

    async fn resolve_struct_value(
        &self,
        flag_key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        let visitor = self.visitor(context).await?;
        let flag = Flag::find(&self.core, &visitor, flag_key)?;
        if let Some(name) = flag.variable {
            return flag.read(name, |feature, name| match feature.variable(name)? {
                Json::Object(fields) => structure(fields.iter().map(|(name, json)| (name.as_str(), json))),
                _ => None,
            });
        }
        let feature = flag.feature.ok_or_else(not_carried)?;
        let all = structure(feature.variables()).ok_or_else(|| mismatch("a list has a null in it"))?;
        Ok(of_feature(all, feature))
    }
}

impl fmt::Debug for ConvertProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertProvider").field("status", &self.status()).finish_non_exhaustive()
    }
}
