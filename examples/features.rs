//! Reads a feature's typed variables, and shows how one call differs with its own options.

use std::error::Error;

use convert_sdk::{Core, RunOptions, SdkConfig, attributes};

fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::new(SdkConfig::builder().data_json(include_str!("shop.json")).offline().build()?);
    core.initialize()?;

    for number in 1..=4 {
        let visitor = core.create_context(format!("visitor-{number}"), attributes! { "age" => 30 })?;
        let Ok(form) = visitor.run_feature("checkout-form") else {
            println!("visitor-{number}: the feature is off");
            continue;
        };
        println!(
            "visitor-{number}: {:?} in {:?} steps, discount {:?}, sticky {:?}, methods {}",
            form.string("title").unwrap_or("Checkout"),
            form.integer("steps").unwrap_or(3),
            form.float("discount").unwrap_or(0.0),
            form.boolean("sticky").unwrap_or(false),
            form.variable("methods").map(ToString::to_string).unwrap_or_default(),
        );
        let raw = RunOptions::new().type_casting(false).enable_tracking(false);
        let served = visitor.run_feature_with("checkout-form", &raw);
        println!("  as served: {:?}", served.ok().and_then(|form| form.string("steps")));
    }

    let child = core.create_context("visitor-1", attributes! { "age" => 12 })?;
    println!("a child: {} features", child.run_features().len());
    let grown = RunOptions::new().attributes(attributes! { "age" => 18 });
    println!("the same, asked as an adult: {} features", child.run_features_with(&grown).len());
    Ok(())
}
