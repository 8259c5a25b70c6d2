//! A first look: fetches a config over HTTPS, buckets 1,000 visitors, records conversions, delivers
//! everything, and accounts for every record.
//!
//! Without variables it starts the emulator and compares its own numbers with the emulator's record. With
//! `CONVERT_SDK_KEY` it talks to `CONVERT_CONFIG_ENDPOINT` and `CONVERT_TRACK_ENDPOINT` (Convert's own by default),
//! trusting `CONVERT_CA_FILE` too; `CONVERT_VISITORS`, `CONVERT_EXPERIENCE`, `CONVERT_FEATURE` and `CONVERT_GOAL`
//! select what is run.

mod endpoint;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::time::Duration;

use convert_emulator::Emulator;
use convert_sdk::{Context, ConversionOptions, Core, GoalDataKey, Stats, attributes, config::EntityKind};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = endpoint::emulator()?;
    let core = Core::new(endpoint::configure(emulator.as_ref())?.build()?);
    core.initialize()?;
    let config = core.current_config().ok_or("no config")?;
    let counts = config.counts();
    println!(
        "config of project {}: {} experiences, {} features, {} goals",
        config.project_id(),
        counts.experiences,
        counts.features,
        counts.goals
    );

    let asked = |variable: &str, first: Option<&str>| {
        env::var(variable).ok().or_else(|| first.map(str::to_owned)).unwrap_or_default()
    };
    let experience = asked("CONVERT_EXPERIENCE", config.experience_keys().next());
    let feature = asked("CONVERT_FEATURE", config.feature_keys().next());
    let goal = asked("CONVERT_GOAL", config.goal_keys().next());
    let visitors = asked("CONVERT_VISITORS", Some("1000")).parse::<u32>()?;

    let mut split = BTreeMap::new();
    let mut shown_feature = false;
    let mut conversions = 0;
    for number in 0..visitors {
        let visitor = visitor(&core, number)?;
        if let Ok(result) = visitor.run_experience(&experience) {
            *split.entry(result.variation_id().to_owned()).or_insert(0_u32) += 1;
        }
        if !shown_feature && let Ok(result) = visitor.run_feature(&feature) {
            shown_feature = true;
            println!("\nfeature {feature}, by way of {}:", result.experience_key());
            for (name, value) in result.variables() {
                println!("  {name} = {value}");
            }
        }
        if number % 10 == 0 {
            let order = ConversionOptions::new().revenue(49.9).data(GoalDataKey::ProductsCount, 2);
            conversions += u32::from(visitor.track_conversion_with(&goal, &order).tracked());
        }
    }
    print_split(&core, &experience, visitors, &split)?;
    println!("\nconversions of {goal} recorded: {conversions}");

    let report = core.flush(PATIENCE)?;
    println!("flush: {} records delivered, {} pending", report.delivered, report.pending);
    let stats = core.close();
    print_ledger(&stats);
    compare(emulator.as_ref(), &stats)
}

/// Visitors who differ in what audiences and locations check.
fn visitor(core: &Core, number: u32) -> Result<Context, Box<dyn Error>> {
    let country = ["DE", "FR", "GR", "US"][number as usize % 4];
    let about = attributes! { "age" => 15 + number % 60, "country" => country, "language" => "en" };
    let place = attributes! { "url" => "https://shop.example.com/checkout", "path" => "/checkout" };
    Ok(core.create_context(format!("visitor-{number}"), about)?.with_location(place))
}

/// The split beside the configured traffic.
fn print_split(
    core: &Core,
    experience: &str,
    visitors: u32,
    split: &BTreeMap<String, u32>,
) -> Result<(), Box<dyn Error>> {
    let decided: u32 = split.values().sum();
    println!("\nexperience {experience}: {decided} of {visitors} visitors");
    let served = core.create_context("", ())?.get_config_entity(EntityKind::Experience, experience);
    let served = served.ok_or("the config has no such experience")?;
    for variation in served["variations"].as_array().into_iter().flatten() {
        let id = variation["id"].as_str().unwrap_or_default();
        let count = split.get(id).copied().unwrap_or_default();
        let share = 100.0 * f64::from(count) / f64::from(decided.max(1));
        let name = variation["key"].as_str().unwrap_or(id);
        println!("  {name:<20} {count:>6}  {share:>6.2} %  (traffic {})", variation["traffic_allocation"]);
    }
    Ok(())
}

fn print_ledger(stats: &Stats) {
    println!("\nledger:");
    println!("  recorded     {:>6}", stats.recorded);
    println!("  deduplicated {:>6}", stats.deduplicated);
    println!("  delivered    {:>6}  ({} events)", stats.delivered, stats.delivered_events);
    println!("  dropped      {:>6}", stats.dropped.total());
    println!("  pending      {:>6}", stats.pending);
    println!("  requests     {:>6}", stats.requests);
}

/// The ledger must balance, and the emulator's record must match it.
fn compare(emulator: Option<&Emulator>, stats: &Stats) -> Result<(), Box<dyn Error>> {
    if !stats.is_balanced() || stats.pending + stats.dropped.total() > 0 {
        return Err(format!("the ledger does not balance: {stats:?}").into());
    }
    if let Some(emulator) = emulator {
        let totals = emulator.received().totals;
        println!(
            "\nthe collector received {} events: {} bucketing, {} conversion (a conversion with revenue is two events)",
            totals.events, totals.bucketing, totals.conversion
        );
        if totals.events != stats.delivered_events || totals.refused > 0 {
            return Err(format!("the collector disagrees: {totals:?}").into());
        }
    }
    println!("every record is accounted for");
    Ok(())
}
