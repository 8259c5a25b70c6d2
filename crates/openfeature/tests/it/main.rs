//! The provider behind the crate's own client, requirement by requirement of the OpenFeature specification.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod flags;
mod specification;

use convert_sdk::testing::{Rule, TestCore, TestData, TestExperience};
use convert_sdk::{Attributes, attributes};
use convert_sdk_openfeature::ConvertProvider;
use open_feature::{Client, EvaluationContext, OpenFeature};

/// A shop: `checkout` with a feature for adults, `price` with a feature for everyone.
fn shop() -> TestCore {
    let nested: Attributes = attributes! { "color" => "red", "sizes" => [1, 2], "ratio" => 0.5 };
    let form = attributes! {
        "steps" => 2, "rate" => 0.25, "title" => "Pay", "sticky" => true, "style" => nested, "odd" => serde_json::json!([null]),
    };
    TestData::new()
        .audience("adults", Rule::at_least("age", 18))
        .location("cart", Rule::contains("url", "/cart"))
        .experience(
            TestExperience::new("checkout").audience("adults").variation("one-page").feature("form", form),
        )
        .experience(
            TestExperience::new("price")
                .variation("high")
                .feature("new.price", attributes! { "eu.net" => 9 }),
        )
        .experience(TestExperience::new("cart").location("cart").variation("big"))
        .experience(TestExperience::new("greek").audience("greeks").variation("blue"))
        .experience(TestExperience::new("empty"))
        .audience("greeks", Rule::equals("country", "GR"))
        .goal("purchase")
        .start()
        .unwrap()
}

fn provider(shop: &TestCore) -> ConvertProvider {
    ConvertProvider::new(shop.to_async())
}

/// A client of the provider, through an API instance of its own.
async fn client(provider: &ConvertProvider) -> Client {
    let mut api = OpenFeature::default();
    api.set_provider(provider.clone()).await;
    api.create_client()
}

fn adult() -> EvaluationContext {
    EvaluationContext::default().with_targeting_key("visitor-1").with_custom_field("age", 30)
}

fn child() -> EvaluationContext {
    adult().with_custom_field("age", 9)
}
