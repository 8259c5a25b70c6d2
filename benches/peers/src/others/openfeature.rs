use std::hint::black_box;

use open_feature::provider::NoOpProvider;
use open_feature::{EvaluationContext, EvaluationErrorCode, OpenFeature};

use super::at_once;
use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

/// What the interface alone costs: its built-in provider knows neither flags nor audiences.
pub(crate) fn client(visitors: usize) -> Evaluate {
    let mut api = OpenFeature::default();
    at_once(api.set_provider(NoOpProvider::default()));
    let client = api.create_client();
    let context = |n: usize| {
        EvaluationContext::default()
            .with_targeting_key(visitor_id(n))
            .with_custom_field("plan", "pro")
            .with_custom_field("age", 30)
    };
    let contexts: Vec<_> = (0..visitors).map(context).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        let answer = at_once(client.get_string_value(black_box(&key), Some(&contexts[at]), None));
        // The only result that this provider gives.
        answer.is_err_and(|error| error.code == EvaluationErrorCode::ProviderNotReady)
    })
}
