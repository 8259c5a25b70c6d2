//! A store shared by a process and its children: without the harness, whose threads would be forked too.
#![cfg_attr(
    unix,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        unsafe_code,
        reason = "a child that cannot go on must fail where it stands; forks are unsafe"
    )
)]

#[cfg(unix)]
#[path = "../support/offers.rs"]
mod offers;
#[cfg(unix)]
#[path = "../support/sdk.rs"]
mod sdk;
#[cfg(unix)]
#[path = "../support/server.rs"]
mod server;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use convert_sdk_redis::RedisStore;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use offers::convert;
    use sdk::{assert_converted, serve, start, to};

    const CHILDREN: u32 = 4;
    const VISITORS: u32 = 100;

    let Some(server) = server::Redis::start(&[]) else { return };
    let emulator = serve();
    // After a late reply memory decides, which knows nothing of the other processes.
    let store = RedisStore::builder(&server.url()).command_timeout(sdk::PATIENCE).build().unwrap();
    let core = start(to(&emulator).data_store(store).store_timeout(sdk::PATIENCE));
    // The connections that the children inherit have been used.
    convert(&core, "before", VISITORS);

    let family = |name: &str| {
        for _ in 0..3 {
            // Replies meant for another process would cause one conversion too many, or too few.
            convert(&core, "before", VISITORS);
            convert(&core, "all", VISITORS);
            convert(&core, name, VISITORS);
        }
    };
    let mut children = BTreeSet::new();
    for number in 0..CHILDREN {
        // SAFETY: the child only uses the SDK and its store, which support forks, and exits without returning.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let lived = catch_unwind(AssertUnwindSafe(|| family(&format!("child{number}"))));
                core.close();
                // SAFETY: ends only this process; the parent's exit handlers are not the child's.
                unsafe { nix::libc::_exit(i32::from(lived.is_err())) }
            }
            ForkResult::Parent { child } => {
                children.insert(child);
            }
        }
    }
    family("parent");
    for child in children {
        assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)), "a child has failed");
    }
    for group in ["before", "all", "parent"] {
        assert_converted(&emulator, group, VISITORS, 1);
    }
    for number in 0..CHILDREN {
        assert_converted(&emulator, &format!("child{number}-"), VISITORS, 1);
    }
    println!("{CHILDREN} children and their parent: each conversion was sent once");
}
