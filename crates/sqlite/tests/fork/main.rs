//! A store that a process and its children share: a program, so that no harness's threads are forked with it.
#![cfg_attr(
    unix,
    expect(
        clippy::unwrap_used,
        unsafe_code,
        reason = "a child that cannot go on must fail where it stands; forks are unsafe"
    )
)]

#[cfg(unix)]
#[path = "../support/folder.rs"]
mod folder;
#[cfg(unix)]
#[path = "../../../redis/tests/support/offers.rs"]
mod offers;
#[cfg(unix)]
#[path = "../../../redis/tests/support/sdk.rs"]
mod sdk;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    each_conversion_is_sent_once_by_a_family();
    a_child_keeps_what_it_writes_after_its_parent_has_closed();
    children_leave_files_of_their_own_in_an_outbox();
    a_child_takes_over_what_its_parent_has_left();
    a_file_whose_lock_was_removed_is_its_owners_while_that_lives();
}

/// Runs `body` in a child; the parent goes on.
#[cfg(unix)]
fn child(body: impl FnOnce()) -> nix::unistd::Pid {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nix::unistd::{ForkResult, fork};

    // SAFETY: the child uses the SDK and its store, which are made for it, and ends without a return.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let lived = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: ends this process alone; what the parent has to do at its end is not the child's.
            unsafe { nix::libc::_exit(i32::from(lived.is_err())) }
        }
        ForkResult::Parent { child } => child,
    }
}

#[cfg(unix)]
fn assert_well(child: nix::unistd::Pid) {
    use nix::sys::wait::{WaitStatus, waitpid};
    assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)), "a child has failed");
}

#[cfg(unix)]
fn each_conversion_is_sent_once_by_a_family() {
    use std::sync::Arc;

    use convert_sdk_sqlite::SqliteStore;

    const CHILDREN: u32 = 4;
    const VISITORS: u32 = 100;

    let folder = folder::Folder::new();
    let emulator = sdk::serve();
    let store = Arc::new(SqliteStore::open(folder.join("store.db")).unwrap());
    let core = offers::host(&emulator, &store);
    // The connections that the children inherit have been used.
    offers::convert(&core, "before", VISITORS);
    let family = |name: &str| {
        for _ in 0..3 {
            offers::convert(&core, "before", VISITORS);
            offers::convert(&core, "all", VISITORS);
            offers::convert(&core, name, VISITORS);
        }
        assert_eq!(core.stats().store_failures, 0);
    };
    let live = |number| {
        family(&format!("child{number}"));
        core.close();
    };
    let children: Vec<_> = (0..CHILDREN).map(|number| child(|| live(number))).collect();
    family("parent");
    children.into_iter().for_each(assert_well);
    for group in ["before", "all", "parent"] {
        sdk::assert_converted(&emulator, group, VISITORS, 1);
    }
    for number in 0..CHILDREN {
        sdk::assert_converted(&emulator, &format!("child{number}-"), VISITORS, 1);
    }
    println!("{CHILDREN} children and their parent: each conversion was sent once");
}

/// The parent is the last with the file open, as far as the locks of a child that inherited its connection say.
#[cfg(unix)]
fn a_child_keeps_what_it_writes_after_its_parent_has_closed() {
    use std::io::{Read as _, Write as _, pipe};

    use convert_sdk::ports::DataStore as _;
    use convert_sdk_sqlite::SqliteStore;

    const KEYS: [&str; 3] = ["parent", "child", "later"];

    let folder = folder::Folder::new();
    let file = folder.join("store.db");
    let store = SqliteStore::open(&file).unwrap();
    store.set(KEYS[0], true.into(), None).unwrap();
    let (mut closed, mut parent_closes) = pipe().unwrap();
    let (mut wrote, mut child_writes) = pipe().unwrap();
    let child = child(|| {
        store.after_fork();
        store.set(KEYS[1], true.into(), None).unwrap();
        child_writes.write_all(b"!").unwrap();
        closed.read_exact(&mut [0]).unwrap();
        store.set(KEYS[2], true.into(), None).unwrap();
    });
    wrote.read_exact(&mut [0]).unwrap();
    drop(store);
    parent_closes.write_all(b"!").unwrap();
    assert_well(child);
    let store = SqliteStore::open(&file).unwrap();
    for key in KEYS {
        assert_eq!(store.has(key), Ok(true), "{key}");
    }
    println!("a child's rows stay when its parent closes");
}

/// Each ends without a close, with conversions on disk; the parent keeps its own.
#[cfg(unix)]
fn children_leave_files_of_their_own_in_an_outbox() {
    use convert_sdk::{ConversionOptions, ConversionStatus, Core};
    use convert_sdk_sqlite::SqliteOutbox;

    const CHILDREN: u32 = 3;
    const VISITORS: u32 = 50;

    let folder = folder::Folder::new();
    let emulator = sdk::serve();
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    let start = || sdk::start(sdk::to(&emulator).batch_size(10_000).outbox(outbox.clone()));
    let convert = |core: &Core, group: &str| {
        for number in 0..VISITORS {
            let visitor = sdk::visitor(core, &format!("{group}-{number}"));
            let plain = ConversionOptions::new();
            let sent = visitor.track_conversion_confirmed("purchase", &plain, sdk::PATIENCE);
            assert_eq!(sent.status, ConversionStatus::Queued);
        }
        assert_eq!(core.stats().outbox_missed, 0);
    };
    let core = start();
    convert(&core, "parent");
    let children: Vec<_> =
        (0..CHILDREN).map(|number| child(|| convert(&core, &format!("child{number}")))).collect();
    children.into_iter().for_each(assert_well);
    let heir = start();
    let expected = u64::from(CHILDREN * VISITORS);
    while heir.stats().recovered < expected {
        std::thread::yield_now();
    }
    heir.flush(sdk::PATIENCE).unwrap();
    let stats = heir.shutdown(sdk::PATIENCE).unwrap().stats;
    assert_eq!((stats.recovered, stats.delivered), (expected, expected));
    for number in 0..CHILDREN {
        sdk::assert_converted(&emulator, &format!("child{number}-"), VISITORS, 1);
    }
    core.shutdown(sdk::PATIENCE).unwrap();
    sdk::assert_converted(&emulator, "parent-", VISITORS, 1);
    drop((core, heir));
    assert_eq!(std::fs::read_dir(&*folder).unwrap().count(), 0, "all files are gone");
    println!("what {CHILDREN} children left in an outbox was delivered once");
}

#[cfg(unix)]
fn keep_ten(outbox: &convert_sdk_sqlite::SqliteOutbox) -> Box<dyn convert_sdk::ports::OutboxFile> {
    use convert_sdk::ports::{Outbox as _, OutboxRecord, RecordKind};
    let mut file = outbox.begin("1/2").unwrap();
    let record = OutboxRecord::new(RecordKind::Exposure, std::time::SystemTime::now(), b"{}");
    file.write(&[], &[record; 10]).unwrap();
    file
}

#[cfg(unix)]
fn adopted(outbox: &convert_sdk_sqlite::SqliteOutbox) -> usize {
    use convert_sdk::ports::Outbox as _;
    outbox.begin("1/2").unwrap().adopt(1_000, 1_000_000).unwrap().records.len()
}

/// SQLite takes the locks of its parent's connections for the child's own, even when the parent is gone.
#[cfg(unix)]
fn a_child_takes_over_what_its_parent_has_left() {
    use std::io::{Read as _, Write as _, pipe};

    use convert_sdk_sqlite::SqliteOutbox;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::{Pid, getppid};

    let folder = folder::Folder::new();
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    let (mut said, says) = pipe().unwrap();
    child(|| {
        let _file = keep_ten(&outbox);
        let here = Pid::this();
        child(|| {
            while getppid() == here {
                std::thread::yield_now();
            }
            (&says).write_all(&[u8::try_from(adopted(&outbox)).unwrap()]).unwrap();
        });
        kill(here, Signal::SIGKILL).unwrap();
    });
    drop(says);
    let mut answer = Vec::new();
    said.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [10]);
    println!("a child took over what its parent had left");
}

#[cfg(unix)]
fn a_file_whose_lock_was_removed_is_its_owners_while_that_lives() {
    use std::io::{Read as _, Write as _, pipe};

    use convert_sdk_sqlite::{EntryState, SqliteOutbox};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;

    let folder = folder::Folder::new();
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    let (mut kept, keeps) = pipe().unwrap();
    let owner = child(|| {
        let _file = keep_ten(&outbox);
        (&keeps).write_all(b"!").unwrap();
        loop {
            std::thread::park();
        }
    });
    kept.read_exact(&mut [0]).unwrap();
    let lock = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "lock");
    let paths = std::fs::read_dir(&*folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(lock).for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(adopted(&outbox), 0);
    assert_eq!(outbox.entries().unwrap().remove(0).state, EntryState::InUse);
    assert_eq!(outbox.erase().unwrap(), 0);
    kill(owner, Signal::SIGKILL).unwrap();
    waitpid(owner, None).unwrap();
    assert_eq!(adopted(&outbox), 10);
    println!("a file without its lock was left to its owner");
}
