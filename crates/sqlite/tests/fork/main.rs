//! A store and an outbox that a process and its children share, and what another user may: a program, so that no
//! harness's threads are forked with it.
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
#[path = "../support/forked.rs"]
mod forked;
#[cfg(unix)]
#[path = "../../../redis/tests/support/offers.rs"]
mod offers;
#[cfg(unix)]
#[path = "../../../redis/tests/support/sdk.rs"]
mod sdk;

#[cfg(unix)]
use forked::{assert_well, child};

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    each_conversion_is_sent_once_by_a_family();
    a_child_keeps_what_it_writes_after_its_parent_has_closed();
    children_leave_files_of_their_own_in_an_outbox();
    a_child_takes_over_what_its_parent_has_left();
    a_file_whose_lock_was_removed_is_its_owners_while_that_lives();
    a_directory_of_another_user_or_without_access_is_refused();
    a_directory_that_becomes_read_only_is_told_and_loses_nothing();
    with_power_a_new_directory_that_cannot_be_synced_is_refused();
}

#[cfg(unix)]
fn each_conversion_is_sent_once_by_a_family() {
    use std::sync::Arc;

    use convert_sdk_sqlite::SqliteStore;

    const CHILDREN: u32 = 4;
    const VISITORS: u32 = 100;

    let folder = folder::Folder::new();
    let emulator = sdk::serve();
    // After a late answer memory decides, which knows nothing of the other processes.
    let store = SqliteStore::builder(folder.join("store.db")).busy_timeout(sdk::PATIENCE).build();
    let store = Arc::new(store.unwrap());
    let config = sdk::to(&emulator).shared_data_store(store.clone()).store_timeout(sdk::PATIENCE);
    let core = sdk::start(config);
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
    // However slow the children are, none delivers anything itself.
    let patient = || sdk::to(&emulator).batch_size(10_000).auto_flush_interval(10 * sdk::PATIENCE);
    let start = || sdk::start(patient().outbox(outbox.clone()));
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
    // The parent looks now and then, too.
    let recovered = || heir.stats().recovered + core.stats().recovered;
    let until = std::time::Instant::now() + sdk::PATIENCE;
    while recovered() < expected {
        assert!(std::time::Instant::now() < until, "{} were recovered", recovered());
        std::thread::yield_now();
    }
    heir.shutdown(sdk::PATIENCE).unwrap();
    core.shutdown(sdk::PATIENCE).unwrap();
    assert_eq!(recovered(), expected);
    for number in 0..CHILDREN {
        sdk::assert_converted(&emulator, &format!("child{number}-"), VISITORS, 1);
    }
    sdk::assert_converted(&emulator, "parent-", VISITORS, 1);
    drop((core, heir));
    assert_eq!(std::fs::read_dir(&*folder).unwrap().count(), 0, "all files are gone");
    println!("what {CHILDREN} children left in an outbox was delivered once");
}

#[cfg(unix)]
fn keep_ten(outbox: &convert_sdk_sqlite::SqliteOutbox) -> Box<dyn convert_sdk::ports::OutboxFile> {
    use convert_sdk::ports::Outbox as _;
    let mut file = outbox.begin("1/2").unwrap();
    write_ten(&mut *file).unwrap();
    file
}

#[cfg(unix)]
fn write_ten(
    file: &mut dyn convert_sdk::ports::OutboxFile,
) -> Result<Vec<convert_sdk::ports::RecordId>, convert_sdk::ports::OutboxError> {
    use convert_sdk::ports::{OutboxRecord, RecordKind};
    let record = OutboxRecord::new(RecordKind::Exposure, std::time::SystemTime::now(), b"{}");
    file.write(&[], &[record; 10])
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

/// Runs `body` in a directory of a user who is refused what permissions refuse, as an administrator is not.
#[cfg(unix)]
fn as_an_ordinary_user(body: impl FnOnce(&std::path::Path)) {
    use std::os::unix::fs::chown;

    use nix::unistd::{Uid, setuid};

    const NOBODY: u32 = 65_534;

    let folder = folder::Folder::new();
    let is_root = Uid::effective().is_root();
    if is_root {
        chown(&*folder, Some(NOBODY), None).unwrap();
    }
    assert_well(child(|| {
        if is_root {
            setuid(Uid::from_raw(NOBODY)).unwrap();
        }
        body(&folder);
        allow(&folder, 0o700);
    }));
}

#[cfg(unix)]
fn allow(directory: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, PermissionsExt::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn a_directory_of_another_user_or_without_access_is_refused() {
    use std::io::ErrorKind::PermissionDenied;
    use std::os::unix::fs::chown;

    use convert_sdk_sqlite::{OpenError, SqliteOutbox};

    let folder = folder::Folder::new();
    // Only an administrator can give a directory away.
    if chown(&*folder, Some(12_345), None).is_ok() {
        assert!(matches!(SqliteOutbox::open(&*folder), Err(OpenError::Foreign(_))));
    }
    as_an_ordinary_user(|directory| {
        allow(directory, 0o500);
        assert!(matches!(SqliteOutbox::open(directory), Err(OpenError::File(_, PermissionDenied))));
    });
    println!("a directory without access was refused");
}

#[cfg(unix)]
fn a_directory_that_becomes_read_only_is_told_and_loses_nothing() {
    use convert_sdk::ports::Outbox as _;
    use convert_sdk_sqlite::SqliteOutbox;

    as_an_ordinary_user(|directory| {
        let outbox = SqliteOutbox::open(directory).unwrap();
        let (mut begun, mut new) = (keep_ten(&outbox), outbox.begin("1/2").unwrap());
        allow(directory, 0o500);
        // Its file is there.
        write_ten(&mut *begun).unwrap();
        assert_eq!(write_ten(&mut *new).unwrap_err().to_string(), "outbox: permission denied");
        drop(begun);
        let found = new.adopt(1_000, 1_000_000).unwrap().records;
        assert_eq!(found.len(), 20, "what was there is taken over");
        let ids: Vec<_> = found.iter().map(|record| record.id).collect();
        new.write(&ids[..15], &[]).unwrap();
        drop(new);
        assert_eq!(adopted(&outbox), 5);
        let mut last = outbox.begin("1/2").unwrap();
        let found = last.adopt(1_000, 1_000_000).unwrap().records;
        last.write(&found.iter().map(|record| record.id).collect::<Vec<_>>(), &[]).unwrap();
        drop(last);
        assert_eq!(adopted(&outbox), 0, "its file could not be removed, but its records");
        allow(directory, 0o700);
        assert_eq!(adopted(&outbox), 0);
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
    });
    println!("a directory that became read-only was told, and lost nothing");
}

#[cfg(unix)]
fn with_power_a_new_directory_that_cannot_be_synced_is_refused() {
    use std::io::ErrorKind::PermissionDenied;

    use convert_sdk_sqlite::{Durability, OpenError, SqliteOutbox};

    as_an_ordinary_user(|directory| {
        let open = |name: &str, durability| {
            SqliteOutbox::builder(directory.join(name)).durability(durability).build().map(drop)
        };
        // What is above can be written, but not opened.
        allow(directory, 0o300);
        open("process", Durability::Process).unwrap();
        // It is not new any more.
        open("process", Durability::Power).unwrap();
        assert!(matches!(open("power/below", Durability::Power), Err(OpenError::File(_, PermissionDenied))));
    });
    println!("a new directory that could not be synced was refused");
}
