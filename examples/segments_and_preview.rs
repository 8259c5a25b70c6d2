//! Custom segments qualify a visitor for an experience; a preview shows a variation without a trace.

use std::error::Error;

use convert_sdk::{Context, Core, SdkConfig, attributes, parse_preview_param};

fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::new(SdkConfig::builder().data_json(include_str!("shop.json")).offline().build()?);
    core.initialize()?;

    let mut visitor = core.create_context("visitor-1", attributes! { "member" => true })?;
    visitor.set_segments(attributes! { "country" => "GR", "visitorType" => "returning" });
    println!("before: {}", shown(&visitor, "welcome-back"));
    let recorded = visitor.run_custom_segments(&["members"]);
    println!("segments recorded: {}", recorded.matched_segment_ids().collect::<Vec<_>>().join(", "));
    println!("after: {}", shown(&visitor, "welcome-back"));

    // A later context of the same visitor starts with the segments and the decision.
    let later = core.create_context("visitor-1", ())?;
    println!("later: {}", shown(&later, "welcome-back"));

    // The value of `convert_preview` in a preview link.
    let param = parse_preview_param("100218245.100299457").ok_or("not a preview parameter")?;
    let mut guest = core.create_context("guest", ())?;
    guest.set_preview(&param.experience_id, &param.variation_id)?;
    println!("preview: {}", shown(&guest, "checkout"));
    println!("conversion sent: {}", guest.track_conversion("purchase").tracked());
    guest.clear_preview();
    println!("without: {}", shown(&guest, "checkout"));
    println!("recorded in all: {}", core.stats().recorded);
    Ok(())
}

/// The variation, or why there is none.
fn shown(visitor: &Context, experience: &str) -> String {
    visitor.run_experience(experience).map_or_else(|why| why.to_string(), |it| it.variation_key().to_owned())
}
