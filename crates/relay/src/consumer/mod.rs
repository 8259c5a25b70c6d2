//! Delivers the entries of one SDK key's stream: a state machine and its driver.

mod machine;
#[cfg(test)]
mod outage;
mod run;
#[cfg(test)]
mod simulation;

pub(crate) use machine::{Entry, Settlement};
pub(crate) use run::{Membership, run};
