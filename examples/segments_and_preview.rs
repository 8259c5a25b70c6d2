//! Custom segments open an experience to a visitor; a preview shows a variation without a trace.

use std::error::Error;

use convert_sdk::{Core, SdkConfig, attributes, parse_preview_param};

fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::new(SdkConfig::builder().data_json(include_str!("shop.json")).build()?);
    core.initialize()?;

    let mut visitor = core.create_context("visitor-1", attributes! { "member" => true })?;
    visitor.set_segments(attributes! { "country" => "GR", "visitorType" => "returning" });
    println!("before: {:?}", visitor.run_experience("welcome-back"));
    let recorded = visitor.run_custom_segments(&["members"]);
    println!("recorded: {:?}", recorded.matched_segment_ids().collect::<Vec<_>>());
    println!("after: {:?}", visitor.run_experience("welcome-back"));

    // A later context of the same visitor starts with the segments and the decision.
    let later = core.create_context("visitor-1", ())?;
    println!("later: {:?}", later.run_experience("welcome-back"));

    // The value of `convert_preview` in a preview link.
    let param = parse_preview_param("100218245.100299457").ok_or("not a preview parameter")?;
    let mut guest = core.create_context("guest", ())?;
    guest.set_preview(&param.experience_id, &param.variation_id)?;
    println!("preview: {:?}", guest.run_experience("checkout"));
    println!("conversion: {:?}", guest.track_conversion("purchase").reason());
    guest.clear_preview();
    println!("without: {:?}", guest.run_experience("checkout"));
    println!("recorded in all: {}", core.stats().recorded);
    Ok(())
}
