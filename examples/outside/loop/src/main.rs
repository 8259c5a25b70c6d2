//! A loop that gives the SDK a moment in each round, and lets two threads carry its requests.
use convert_sdk::{Core, SdkConfig, pump::Carrier};
use std::{error::Error, thread, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let (core, mut pump) = Core::builder(SdkConfig::from_env()?.for_game_loop().build()?).pumped()?;
    let mut carrier = Carrier::new(&pump);
    let (mut ready, mut end) = (pump.initialize(), None);
    loop {
        pump.turn(Duration::from_micros(200));
        carrier.carry(&mut pump);
        thread::sleep(Duration::from_millis(1)); // what else a round does
        if ready.check().transpose()?.is_some() {
            for player in 0..10 {
                let player = core.create_context(format!("player-{player}"), ())?;
                println!("{:?}", player.run_experience("homepage-headline").map(|it| it.variation_key()));
                player.track_conversion("purchase");
            }
            end = Some(pump.shutdown(Duration::from_secs(5)));
        }
        if let Some(report) = end.as_mut().and_then(|end| end.check()) {
            return Ok(println!("{} delivered", report?.stats.delivered));
        }
    }
}
