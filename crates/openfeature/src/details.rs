//! How a decision was made, in the terms of the specification.

use convert_sdk::{DecisionSource, ExperienceResult, FeatureOff, FeatureResult, Undecided};
use open_feature::provider::ResolutionDetails;
use open_feature::{EvaluationError, EvaluationErrorCode, EvaluationReason, FlagMetadata};

pub(crate) fn error(code: EvaluationErrorCode, message: impl Into<String>) -> EvaluationError {
    EvaluationError { code, message: Some(message.into()) }
}

/// The variation of an experience.
pub(crate) fn of_experience(shown: ExperienceResult<'_>) -> ResolutionDetails<String> {
    let metadata = FlagMetadata::default()
        .with_value("experienceId", shown.experience_id())
        .with_value("experienceKey", shown.experience_key())
        .with_value("variationId", shown.variation_id());
    let variant = named(shown.variation_key(), shown.variation_id());
    ResolutionDetails {
        value: variant.clone(),
        variant: Some(variant),
        reason: Some(reason(shown.source())),
        flag_metadata: Some(metadata),
    }
}

/// The value of a feature or of one of its variables.
pub(crate) fn of_feature<T>(value: T, feature: FeatureResult<'_>) -> ResolutionDetails<T> {
    let metadata = FlagMetadata::default()
        .with_value("featureId", feature.feature_id())
        .with_value("experienceId", feature.experience_id())
        .with_value("experienceKey", feature.experience_key())
        .with_value("variationId", feature.variation_id());
    ResolutionDetails {
        value,
        variant: Some(named(feature.variation_key(), feature.variation_id())),
        reason: Some(reason(feature.source())),
        flag_metadata: Some(metadata),
    }
}

/// The visitor does not have the feature.
pub(crate) fn off() -> ResolutionDetails<bool> {
    let metadata = FlagMetadata::default().with_value("undecided", FeatureOff::NotCarried.code());
    ResolutionDetails {
        value: false,
        variant: Some("off".to_owned()),
        reason: Some(EvaluationReason::Default),
        flag_metadata: Some(metadata),
    }
}

/// Why there is no variation. `General` with the name of a reason requests the application's default value: a
/// provider of this crate is not given the default, so it cannot return it with that reason.
pub(crate) fn undecided(why: Undecided) -> EvaluationError {
    let code = match why {
        Undecided::NotInConfig => EvaluationErrorCode::FlagNotFound,
        Undecided::Withdrawn => EvaluationErrorCode::ProviderNotReady,
        Undecided::NoVisitor => EvaluationErrorCode::TargetingKeyMissing,
        Undecided::Archived | Undecided::NoId | Undecided::Environment | Undecided::NoVariations => {
            EvaluationErrorCode::General(EvaluationReason::Disabled.to_string())
        }
        _ => EvaluationErrorCode::General(EvaluationReason::Default.to_string()),
    };
    error(code, why.to_string())
}

/// Why there is no variable; a feature's boolean is `false` instead.
pub(crate) fn not_carried() -> EvaluationError {
    let code = EvaluationErrorCode::General(EvaluationReason::Default.to_string());
    error(code, FeatureOff::NotCarried.to_string())
}

const fn reason(source: DecisionSource) -> EvaluationReason {
    match source {
        DecisionSource::Stored => EvaluationReason::Cached,
        DecisionSource::Hashed { .. } => EvaluationReason::Split,
        DecisionSource::Forced => EvaluationReason::TargetingMatch,
        _ => EvaluationReason::Unknown,
    }
}

/// The key, or the id if the config has no key.
fn named(key: &str, id: &str) -> String {
    if key.is_empty() { id } else { key }.to_owned()
}
