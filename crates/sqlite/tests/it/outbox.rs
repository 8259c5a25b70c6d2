//! What an outbox keeps and finds.

use std::fs;
use std::path::PathBuf;

use convert_sdk::ports::{Adopted, Outbox, OutboxFile, OutboxRecord, RecordKind};
use convert_sdk_sqlite::{Durability, EntryState, OpenError, SqliteOutbox};
use rusqlite::Connection;

use crate::files::{MOST, PROJECT, adopt, at, begin, damage, files, keep, killed, numbers};
use crate::folder::Folder;

#[test]
fn what_was_left_is_found_in_order_and_removed_with_its_file() {
    let folder = Folder::new();
    let mut gone = begin(&folder);
    let ids = keep(&mut *gone, 0..500);
    gone.write(&ids[..100], &[]).unwrap();
    drop(gone);
    let mut heir = begin(&folder);
    let some = heir.adopt(150, MOST).unwrap();
    assert_eq!((some.records.len(), some.left, some.damaged), (150, 250, 0));
    assert_eq!(some.records[0].recorded_at, at(7));
    let rest = adopt(&mut *heir);
    assert_eq!((numbers(&some).first(), numbers(&rest).last()), (Some(&100), Some(&499)));
    assert_eq!(numbers(&some).len() + numbers(&rest).len(), 400);
    let ids: Vec<_> = some.records.iter().chain(&rest.records).map(|record| record.id).collect();
    heir.write(&ids, &[]).unwrap();
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 0);
}

#[test]
fn what_was_not_removed_is_found_again_by_the_next() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..10);
    let mut heir = begin(&folder);
    let found = adopt(&mut *heir);
    heir.write(&[found.records[3].id], &[]).unwrap();
    drop(heir);
    assert_eq!(numbers(&adopt(&mut *begin(&folder))), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn the_file_of_somebody_alive_is_left_alone() {
    let folder = Folder::new();
    let mut alive = begin(&folder);
    let ids = keep(&mut *alive, 0..10);
    let mut other = begin(&folder);
    assert_eq!(adopt(&mut *other), Adopted::default());
    alive.write(&ids, &[]).unwrap();
    drop(alive);
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 0, "an empty file goes with its owner");
}

#[test]
fn records_of_another_project_are_left_for_it() {
    let folder = Folder::new();
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    keep(&mut *outbox.begin("1/2").unwrap(), 0..10);
    keep(&mut *outbox.begin("1/23").unwrap(), 10..20);
    keep(&mut *outbox.begin("1/2-3").unwrap(), 20..30);
    assert_eq!(numbers(&adopt(&mut *outbox.begin("1/2").unwrap())), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&adopt(&mut *outbox.begin("1/23").unwrap())), (10..20).collect::<Vec<_>>());
}

#[test]
fn of_two_who_adopt_at_once_each_record_goes_to_one() {
    let folder = Folder::new();
    for part in 0..8 {
        keep(&mut *begin(&folder), part * 50..(part + 1) * 50);
    }
    let mut all: Vec<u32> = std::thread::scope(|scope| {
        let heir = || {
            // Kept open until both are done.
            let mut heir = begin(&folder);
            (numbers(&adopt(&mut *heir)), heir)
        };
        let heirs: Vec<_> = (0..2).map(|_| scope.spawn(heir)).collect();
        let found: Vec<_> = heirs.into_iter().map(|heir| heir.join().unwrap()).collect();
        found.iter().flat_map(|(numbers, _)| numbers.clone()).collect()
    });
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
}

#[test]
fn empty_files_hide_none_with_records() {
    let folder = Folder::new();
    for _ in 0..70 {
        damage(&folder, 0..1, "DELETE FROM records");
    }
    keep(&mut *begin(&folder), 0..10);
    let mut heir = begin(&folder);
    assert_eq!(heir.adopt(MOST, MOST).unwrap().records.len(), 10);
    assert_eq!(files(&folder, "db").len(), 1);
}

#[test]
fn a_file_without_its_lock_is_found_shown_and_erased() {
    let folder = Folder::new();
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    let leave = || {
        keep(&mut *begin(&folder), 0..10);
        files(&folder, "lock").into_iter().for_each(|path| fs::remove_file(path).unwrap());
    };
    leave();
    let entry = outbox.entries().unwrap().remove(0);
    assert_eq!((entry.state, entry.records), (EntryState::Left, 10));
    leave();
    assert_eq!(outbox.erase().unwrap(), 2);
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 0);
    leave();
    let mut heir = begin(&folder);
    assert_eq!(numbers(&adopt(&mut *heir)), (0..10).collect::<Vec<_>>());
}

#[test]
fn of_a_directory_that_others_use_too_only_an_outbox_is_erased() {
    let folder = Folder::new();
    let orders = |name: &str| {
        Connection::open(folder.join(name)).unwrap().execute_batch("CREATE TABLE orders (id)").unwrap();
    };
    fs::write(folder.join("Cargo.lock"), "mine").unwrap();
    orders("orders.db");
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    keep(&mut *begin(&folder), 0..10);
    assert_eq!(outbox.entries().unwrap().len(), 1);
    assert_eq!(outbox.erase().unwrap(), 1);
    let names = || {
        let all =
            fs::read_dir(&*folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    };
    assert_eq!(names(), ["Cargo.lock", "orders.db"]);
    // One that only has such a name.
    orders("10035569-10034190-1-1-0.db");
    keep(&mut *begin(&folder), 0..10);
    assert!(matches!(outbox.erase(), Err(OpenError::Format(_))), "after the others");
    assert_eq!(names(), ["10035569-10034190-1-1-0.db", "Cargo.lock", "orders.db"]);
}

#[test]
fn what_is_left_of_a_removed_file_is_erased_too() {
    let folder = Folder::new();
    let mut alive = begin(&folder);
    keep(&mut *alive, 0..10);
    let killed = killed(&folder);
    for end in ["db", "lock"] {
        fs::remove_file(&files(&killed, end)[0]).unwrap();
    }
    fs::write(files(&killed, "db-wal")[0].with_extension("db-shm"), "").unwrap();
    assert_eq!(SqliteOutbox::open(&*killed).unwrap().erase().unwrap(), 1);
    assert_eq!(fs::read_dir(&*killed).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = Folder::new();
    let pipe = |name: &str| {
        mknodat(CWD, folder.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    };
    pipe("10035569-10034190-1-1-0.lock");
    pipe("10035569-10034190-1-1-1.db");
    keep(&mut *begin(&folder), 0..10);
    let mut heir = begin(&folder);
    assert_eq!(adopt(&mut *heir).records.len(), 10);
    let outbox = SqliteOutbox::open(&*folder).unwrap();
    let states: Vec<_> = outbox.entries().unwrap().iter().map(|entry| entry.state).collect();
    assert_eq!(states, [EntryState::Unreadable, EntryState::InUse]);
}

#[cfg(unix)]
#[test]
fn links_and_files_of_other_users_are_left_alone() {
    use std::os::unix::fs::{chown, symlink};
    let (folder, other) = (Folder::new(), Folder::new());
    keep(&mut *begin(&other), 0..10);
    for path in files(&other, "db").iter().chain(&files(&other, "lock")) {
        symlink(path, folder.join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(adopt(&mut *begin(&folder)), Adopted::default());
    fs::remove_file(&files(&folder, "lock")[0]).unwrap();
    assert_eq!(adopt(&mut *begin(&folder)), Adopted::default(), "with a lock of its own");
    assert_eq!(adopt(&mut *begin(&other)).records.len(), 10);
    // Only an administrator can give a file away.
    if chown(&files(&other, "db")[0], Some(12_345), None).is_ok() {
        assert_eq!(adopt(&mut *begin(&other)), Adopted::default());
    }
}

#[test]
fn a_file_of_another_application_is_not_changed() {
    let folder = Folder::new();
    let path = folder.join("10035569-10034190-1-1-0.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE orders (id)").unwrap();
    fs::write(path.with_extension("lock"), "").unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(adopt(&mut *begin(&folder)), Adopted::default());
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..10);
    let [path] = &files(&folder, "db")[..] else { panic!("one file") };
    Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let mut heir = begin(&folder);
    let told = heir.adopt(MOST, MOST).unwrap_err().to_string();
    assert_eq!(told, "outbox: a file is passed over: another application or a newer version");
    assert_eq!(heir.adopt(MOST, MOST).unwrap(), Adopted::default(), "once");
    assert_eq!(files(&folder, "db").len(), 1);
}

#[test]
fn a_full_file_takes_no_more_until_there_is_room() {
    let folder = Folder::new();
    let outbox = SqliteOutbox::builder(&*folder).max_bytes(64 << 10).build().unwrap();
    let mut file = outbox.begin(PROJECT).unwrap();
    let ids = keep(&mut *file, 0..100);
    let content = "x".repeat(1_000);
    let many = vec![OutboxRecord::new(RecordKind::Exposure, at(7), content.as_bytes()); 100];
    assert_eq!(file.write(&[], &many).unwrap_err().to_string(), "outbox: SQLITE_FULL");
    file.write(&ids, &many[..20]).unwrap();
    drop(file);
    assert_eq!(begin(&folder).adopt(MOST, MOST).unwrap().records.len(), 20);
}

#[test]
fn what_somebody_removes_is_written_again() {
    for part in ["lock", "db", "db-wal", ""] {
        let folder = Folder::new();
        let mut file = begin(&folder);
        let ids = keep(&mut *file, 0..3_000);
        file.write(&ids[..500], &[]).unwrap();
        let all = fs::read_dir(&*folder).unwrap().map(|entry| entry.unwrap().path());
        for path in all.filter(|path| part.is_empty() || path.extension().is_some_and(|end| end == part)) {
            fs::remove_file(path).unwrap();
        }
        // Also when it only looks for what others have left.
        assert_eq!(file.adopt(MOST, MOST).unwrap(), Adopted::default(), "{part}");
        assert_eq!(files(&folder, "lock").len(), 1, "{part}");
        assert_eq!(
            numbers(&adopt(&mut *begin(&killed(&folder)))),
            (500..3_000).collect::<Vec<_>>(),
            "{part}"
        );
        let later = keep(&mut *file, 3_000..3_010);
        file.write(&ids[500..], &[]).unwrap();
        let found = adopt(&mut *begin(&killed(&folder)));
        assert_eq!((numbers(&found), later.len()), ((3_000..3_010).collect(), 10), "{part}");
    }
}

#[test]
fn only_a_process_that_was_killed_counts_as_killed() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    keep(&mut *writer, 0..10);
    // What it has delivered may not be removed yet.
    let killed_one = killed(&folder);
    drop(writer);
    for (folder, expected) in [(killed_one, 1), (folder, 0)] {
        SqliteOutbox::open(&*folder).unwrap().entries().unwrap();
        let mut heir = begin(&folder);
        let counted = |heir: &mut dyn OutboxFile| heir.adopt(3, MOST).unwrap();
        let some = counted(&mut *heir);
        heir.write(&some.records.iter().map(|record| record.id).collect::<Vec<_>>(), &[]).unwrap();
        assert_eq!((some.killed, counted(&mut *heir).killed), (expected, 0), "once");
        assert_eq!(adopt(&mut *begin(&killed(&folder))).killed, 1, "the heir may be killed too");
        drop(heir);
        assert_eq!(adopt(&mut *begin(&folder)).killed, 0);
    }
}

#[test]
fn a_bound_in_bytes_holds_for_what_is_adopted_at_a_time() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..100);
    let mut heir = begin(&folder);
    assert_eq!(heir.adopt(MOST, 1_000).unwrap().records.len(), 5, "200 bytes each");
    assert_eq!(heir.adopt(MOST, 1).unwrap().records.len(), 1, "at least one");
    assert_eq!(heir.adopt(MOST, MOST).unwrap().records.len(), 94);
}

#[test]
fn a_power_failure_is_an_option_of_its_own() {
    let folder = Folder::new();
    let outbox = SqliteOutbox::builder(&*folder).durability(Durability::Power).build().unwrap();
    keep(&mut *outbox.begin(PROJECT).unwrap(), 0..10);
    assert_eq!(adopt(&mut *begin(&folder)).records.len(), 10);
}

#[cfg(unix)]
#[test]
fn files_and_directory_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let inner = folder.join("a/b");
    let mut file = SqliteOutbox::open(&inner).unwrap().begin(PROJECT).unwrap();
    keep(&mut *file, 0..10);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(inner.clone()), 0o700);
    let files: Vec<_> = fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2);
    files.into_iter().for_each(|path| assert_eq!(mode(path.clone()), 0o600, "{path:?}"));
}

#[test]
fn a_directory_that_cannot_be_used_is_a_typed_error() {
    let folder = Folder::new();
    fs::write(folder.join("file"), "").unwrap();
    assert!(matches!(SqliteOutbox::open(folder.join("file")), Err(OpenError::File(..))));
    let below = SqliteOutbox::open(folder.join("file/below")).unwrap_err();
    assert!(matches!(&below, OpenError::File(path, _) if *path == folder.join("file/below")));
    assert!(below.to_string().contains("file/below cannot be used"), "{below}");
    let zero = SqliteOutbox::builder(&*folder).max_bytes(0).build().unwrap_err();
    assert_eq!(zero, OpenError::Zero("max_bytes"));
    let shown = format!("{:?}", SqliteOutbox::open(&*folder).unwrap());
    assert!(!shown.contains("convert-sqlite"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_directory_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    for (mode, is_refused) in [(0o777, true), (0o1777, true), (0o770, true), (0o702, true), (0o755, false)] {
        fs::set_permissions(&*folder, PermissionsExt::from_mode(mode)).unwrap();
        let opened = SqliteOutbox::open(&*folder).map(drop);
        assert_eq!(matches!(opened, Err(OpenError::Foreign(_))), is_refused, "{mode:o}");
    }
}

/// For each record that is found, the id of its batch, its place there, and the size.
fn batches(found: &Adopted) -> Vec<Option<(&str, usize, usize)>> {
    let batches = found.records.iter().map(|record| record.batch.as_ref());
    batches.map(|batch| batch.map(|it| (&*it.id, it.place, it.of))).collect()
}

#[test]
fn what_was_noted_of_a_batch_is_found_until_some_of_it_is_gone() {
    let folder = Folder::new();
    let mut file = begin(&folder);
    let ids = keep(&mut *file, 0..6);
    file.note("a", &ids[..2]).unwrap();
    file.note("b", &[ids[4], ids[2], ids[3]]).unwrap();
    let found = |folder: &Folder| adopt(&mut *begin(&killed(folder)));
    let (a, b) = (|place| Some(("a", place, 2)), |place| Some(("b", place, 3)));
    assert_eq!(batches(&found(&folder)), [a(0), a(1), b(1), b(2), b(0), None]);
    // One that is gone, and one that is in another batch now.
    file.write(&ids[..1], &[]).unwrap();
    file.note("c", &ids[4..]).unwrap();
    let c = |place| Some(("c", place, 2));
    assert_eq!(batches(&found(&folder)), [None, None, None, c(0), c(1)]);
    // What is not there cannot be noted.
    file.note("d", &ids[..2]).unwrap();
    // A batch can be in several files, also over several ends.
    let mut heir = begin(&folder);
    drop(file);
    let own = keep(&mut *heir, 6..8);
    let ids: Vec<_> = adopt(&mut *heir).records.iter().map(|record| record.id).collect();
    heir.note("e", &[own[1], ids[0], ids[4]]).unwrap();
    let e = |place| Some(("e", place, 3));
    let left = found(&folder);
    let mut places: Vec<_> = batches(&left).into_iter().flatten().collect();
    places.sort_unstable();
    assert_eq!(places, [e(0), e(1), e(2)].map(Option::unwrap));
}

#[test]
fn a_damaged_note_costs_its_id_and_no_record() {
    for (name, value) in [("id", "'x'"), ("size", "1"), ("place", "1"), ("first", "2"), ("rows", "1")] {
        let folder = Folder::new();
        let mut file = begin(&folder);
        let ids = keep(&mut *file, 0..3);
        file.note("a", &ids[..2]).unwrap();
        let left = killed(&folder);
        let other = Connection::open(&files(&left, "db")[0]).unwrap();
        other.execute(&format!("UPDATE batches SET {name} = {value}"), []).unwrap();
        drop(other);
        let found = adopt(&mut *begin(&left));
        assert_eq!((found.damaged, batches(&found)), (0, vec![None; 3]), "{name}");
    }
}
