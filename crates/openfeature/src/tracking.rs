//! Tracking, for as long as the crate's clients lack it.

use std::collections::HashMap;
use std::fmt;

use convert_sdk::{ConversionOptions, ConversionResult, GoalDataKey};
use open_feature::{EvaluationContext, EvaluationResult, Value};

use crate::ConvertProvider;

/// The data of a tracking event besides its name: the specification's tracking event details. `Debug` does
/// not show the values.
#[derive(Clone, Default, PartialEq)]
pub struct TrackingEventDetails {
    /// The conversion's revenue, in the project's currency.
    pub value: Option<f64>,
    /// Goal data by name: `amount` (unless `value` is set), `productsCount`, `transactionId` and
    /// `customDimension1` to `customDimension5`, each a number or a string; and the boolean `forceMultiple`,
    /// without which later conversions of the goal by the same visitor are not sent. Other fields have no
    /// equivalent in Convert and are ignored.
    pub custom_fields: HashMap<String, Value>,
}

impl TrackingEventDetails {
    /// Sets the value.
    #[must_use]
    pub const fn with_value(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }

    /// Adds a custom field.
    #[must_use]
    pub fn with_custom_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.custom_fields.insert(name.into(), value.into());
        self
    }

    fn options(&self) -> ConversionOptions {
        let mut options = ConversionOptions::new();
        for (name, value) in &self.custom_fields {
            options = match (name.parse::<GoalDataKey>(), value) {
                (Ok(key), Value::Int(number)) => options.data(key, *number as f64),
                (Ok(key), Value::Float(number)) => options.data(key, *number),
                (Ok(key), Value::String(text)) => options.data(key, text.as_str()),
                (Err(_), Value::Bool(force)) if name == "forceMultiple" => options.force_multiple(*force),
                _ => options,
            };
        }
        match self.value {
            Some(value) => options.revenue(value),
            None => options,
        }
    }
}

impl fmt::Debug for TrackingEventDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingEventDetails")
            .field("value", &self.value.is_some())
            .field("custom_fields", &self.custom_fields.len())
            .finish()
    }
}

impl ConvertProvider {
    /// Records that the visitor of `context` reached a goal, given by its key. Returns nothing, as the
    /// specification requires, and waits only for a data store; if nothing was recorded, a log line says why
    /// (`debug`, target `convert_sdk_openfeature`). Merge the global and the client's context into `context`
    /// first.
    ///
    /// Counts **once per visitor and goal**, unless `forceMultiple` is among the
    /// [details](TrackingEventDetails::custom_fields).
    pub async fn track(
        &self,
        tracking_event_name: &str,
        context: Option<&EvaluationContext>,
        details: Option<&TrackingEventDetails>,
    ) {
        match self.track_conversion(tracking_event_name, context, details).await {
            Ok(result) if result.tracked() => {}
            Ok(result) => log::debug!("not tracked: {}", result.status.as_str()),
            Err(error) => log::debug!("not tracked: {}", error.code),
        }
    }

    /// Like [`track`](Self::track), but returns the outcome.
    ///
    /// # Errors
    /// As for an evaluation: the provider is not ready, there is no targeting key, or the context is invalid.
    pub async fn track_conversion(
        &self,
        goal_key: &str,
        context: Option<&EvaluationContext>,
        details: Option<&TrackingEventDetails>,
    ) -> EvaluationResult<ConversionResult> {
        let nobody = EvaluationContext::default();
        let visitor = self.visitor(context.unwrap_or(&nobody)).await?;
        let options = details.map(TrackingEventDetails::options).unwrap_or_default();
        Ok(visitor.track_conversion_with(goal_key, &options))
    }
}
