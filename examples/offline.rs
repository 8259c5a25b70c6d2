//! Decides from a given config: no network, no threads, and nothing leaves the process.

use std::error::Error;

use convert_sdk::{Core, SdkConfig, attributes};

fn main() -> Result<(), Box<dyn Error>> {
    // Without `offline`, exposures would be sent to the real project.
    let config = SdkConfig::builder().data_json(include_str!("shop.json")).offline();
    let core = Core::new(config.build()?);
    core.initialize()?;

    for number in 1..=5 {
        let age = 10 + 3 * number;
        let visitor = core.create_context(format!("visitor-{number}"), attributes! { "age" => age })?;
        match visitor.run_experience("checkout") {
            Ok(result) => println!("visitor-{number}, {age}: {}", result.variation_key()),
            Err(reason) => println!("visitor-{number}, {age}: nothing, because {reason}"),
        }
    }
    println!("kept here: {} exposures", core.stats().withheld);
    Ok(())
}
