//! A storm of forks: children are forked while their parent's other threads record, flush, refresh, and start and close
//! cores. Every child must succeed; one that does not leaves the reason behind.
//!
//! Run it with `scripts/fork_storm [children]`; among the tests this is a small storm.
#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::unwrap_used,
        clippy::panic,
        unsafe_code,
        reason = "a child that cannot go on must fail where it stands; forks, signals and their numbers are unsafe"
    )
)]

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod parent;
#[cfg(target_os = "linux")]
mod watch;

/// The exits of processes and their stacks are read from Linux.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    /// Small, so that the first use of everything, once per process, coincides with many forks.
    const CHILDREN_OF_ONE: u32 = 40;
    /// Concurrent processes with racing threads.
    const PARENTS: usize = 2;

    let number = |name: &str, default| std::env::var(name).map_or(default, |given| given.parse().unwrap());
    let children = number("FORK_STORM_CHILDREN", 80);
    let first = number("FORK_STORM_SEED", 1);
    watch::report_signals();
    let server = parent::Server::start();
    let mut running = std::collections::VecDeque::new();
    let (mut forked, mut bad) = (0, 0);
    for seed in first.. {
        if running.len() == PARENTS || forked >= children {
            let Some((of, parent)) = running.pop_front() else { break };
            if let Err(reason) = watch::Watched::end(parent, parent::PATIENCE) {
                bad += 1;
                println!("the parent of seed {of} failed, or a child of it did:\n{reason}");
            }
        }
        if forked < children {
            let count = CHILDREN_OF_ONE.min(children - forked);
            forked += count;
            if forked % 10_000 == 0 {
                println!("{forked} children, failed parents: {bad}");
            }
            // This process is single-threaded and has used nothing, and so is each parent at its start.
            let run = || parent::run(&server, seed.into(), count);
            running.push_back((seed, watch::fork(run)));
        }
    }
    drop(server);
    println!("{forked} children, failed parents: {bad}");
    std::process::exit(i32::from(bad > 0));
}
