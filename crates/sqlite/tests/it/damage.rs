//! What an outbox makes of damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use convert_sdk::ports::{Adopted, OutboxFile, OutboxRecord, RecordId, RecordKind};
use convert_sdk_sqlite::{EntryState, OpenError, SqliteOutbox};

use crate::files::{MOST, PROJECT, adopt, at, begin, damage, files, keep, killed, numbers};
use crate::folder::Folder;

#[test]
fn a_flipped_byte_costs_the_record_that_held_it() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..1_000);
    let [path] = &files(&folder, "db")[..] else { panic!("one file") };
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.windows(5).position(|part| part == b"  777").unwrap();
    bytes[place + 2] ^= 1;
    fs::write(path, bytes).unwrap();
    let entry = || SqliteOutbox::open(&*folder).unwrap().entries().unwrap().remove(0);
    assert_eq!((entry().records, entry().records), (999, 999), "a look changes nothing");
    let mut heir = begin(&folder);
    let found = adopt(&mut *heir);
    assert_eq!((found.records.len(), found.damaged), (999, 1));
    assert!(!numbers(&found).contains(&777));
}

/// A thousand records, and damage to the page with the 500th.
fn with_a_damaged_page() -> Folder {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..1_000);
    let path = files(&folder, "db").pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(5).position(|part| part == b"  500").unwrap();
    let page = place / 4_096 * 4_096;
    bytes[page..page + 4_096].fill(0xa5);
    fs::write(path, bytes).unwrap();
    folder
}

#[test]
fn a_damaged_page_costs_the_records_on_it() {
    let folder = with_a_damaged_page();
    let mut heir = begin(&folder);
    let found = adopt(&mut *heir);
    assert_eq!(found.records.len() as u64 + found.damaged, 1_000);
    assert!((1..40).contains(&found.damaged), "{} are lost with one page", found.damaged);
    let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
    heir.write(&ids, &[]).unwrap();
    assert_eq!((files(&folder, "damaged").len(), files(&folder, "lock").len()), (1, 0));
    assert_eq!(adopt(&mut *begin(&folder)), Adopted::default(), "it is not looked at again");
}

#[test]
fn what_was_delivered_of_a_damaged_file_is_not_delivered_again() {
    let folder = with_a_damaged_page();
    let mut heir = begin(&folder);
    let some = heir.adopt(100, MOST).unwrap();
    let ids: Vec<_> = some.records.iter().map(|record| record.id).collect();
    heir.write(&ids[..10], &[]).expect_err("the rest is not read yet");
    let rest = adopt(&mut *heir);
    heir.write(&ids[10..], &[]).unwrap();
    assert_eq!((files(&folder, "damaged").len(), files(&folder, "db").len()), (1, 1));
    drop(heir);
    let found = adopt(&mut *begin(&folder));
    assert_eq!((numbers(&found), found.damaged, found.killed), (numbers(&rest), 0, 0));
}

#[test]
fn a_file_cut_short_gives_what_is_before_the_cut() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..1_000);
    cut(&files(&folder, "db")[0], 0);
    let found = adopt(&mut *begin(&folder));
    let numbers = numbers(&found);
    assert!(numbers.len() > 300, "{} are left", numbers.len());
    assert!(numbers.iter().zip(0..).all(|(number, expected)| *number == expected));
    assert!(found.damaged > 0);
}

/// Records of several pages.
fn keep_large(file: &mut dyn OutboxFile, numbers: std::ops::Range<u32>) -> Vec<RecordId> {
    let contents: Vec<_> = numbers.map(|number| format!("{number:>9000}")).collect();
    let record = |content| OutboxRecord::new(RecordKind::Conversion, at(7), content);
    let records: Vec<_> = contents.iter().map(|content| record(content.as_bytes())).collect();
    file.write(&[], &records).unwrap()
}

/// Cuts a file to half of its pages and so many bytes.
fn cut(path: &Path, more: u64) {
    let length = fs::metadata(path).unwrap().len() / 8_192 * 4_096 + more;
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// A part of a page fails to be read in a way of its own.
fn within_a_page(page: u32) -> u64 {
    u64::from(page) * 4_096 + 1_000
}

#[test]
fn what_is_whole_behind_a_lost_record_goes_on_in_another_file() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    let ids = keep_large(&mut *writer, 0..100);
    writer.write(&ids[..50], &[]).unwrap();
    // In their places.
    keep_large(&mut *writer, 100..140);
    drop(writer);
    // Through a record, or between two.
    for page in 0..12 {
        let folder = killed(&folder);
        cut(&files(&folder, "db")[0], within_a_page(page));
        let mut heir = begin(&folder);
        let found = adopt(&mut *heir);
        let whole = numbers(&found);
        assert!(whole.iter().any(|number| *number >= 100) && found.damaged > 0, "{whole:?}");
        heir.write(&[found.records[0].id], &[]).unwrap();
        assert_eq!(numbers(&adopt(&mut *begin(&killed(&folder)))), whole[1..], "{page}");
    }
}

/// The parts of records that have pages of their own are beyond the cut, and are read directly.
#[test]
fn a_cut_file_of_large_records_is_delivered_once() {
    let folder = Folder::new();
    for file in 0..70 {
        let known = files(&folder, "db");
        keep_large(&mut *begin(&folder), file * 20..file * 20 + 20);
        cut(
            files(&folder, "db").iter().find(|path| !known.contains(path)).unwrap(),
            within_a_page(file % 10),
        );
    }
    let mut heir = begin(&folder);
    let mut all = Adopted::default();
    loop {
        let found = adopt(&mut *heir);
        if found == Adopted::default() {
            break;
        }
        let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
        heir.write(&ids, &[]).unwrap();
        all.damaged += found.damaged;
        all.records.extend(found.records);
    }
    let different: BTreeSet<_> = numbers(&all).into_iter().collect();
    assert_eq!(different.len(), all.records.len(), "some came twice");
    assert!(all.records.len() > 70 * 5 && all.damaged >= 70, "{}, {}", all.records.len(), all.damaged);
    assert_eq!((files(&folder, "damaged").len(), files(&folder, "db").len()), (70, 0));
}

#[test]
fn an_empty_file_beside_its_log_is_a_loss_and_the_log_is_kept() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    keep(&mut *writer, 0..300);
    let killed = killed(&folder);
    fs::write(&files(&killed, "db")[0], "").unwrap();
    let log = fs::read(&files(&killed, "db-wal")[0]).unwrap();
    let entry = SqliteOutbox::open(&*killed).unwrap().entries().unwrap().remove(0);
    assert_eq!((entry.state, entry.records), (EntryState::Unreadable, 0));
    assert_eq!(entry.project.as_deref(), Some(PROJECT), "by its name");
    let found = adopt(&mut *begin(&killed));
    assert_eq!((found.records.len(), found.damaged), (0, 1));
    assert!(fs::read(&files(&killed, "damaged-wal")[0]).unwrap() == log);
    assert_eq!(adopt(&mut *begin(&killed)), Adopted::default(), "once");
}

#[test]
fn an_emptied_file_is_a_loss_and_one_just_made_is_none() {
    for (is_left, lost) in [(true, 1), (false, 0)] {
        let folder = Folder::new();
        let mut writer = begin(&folder);
        keep(&mut *writer, 0..10);
        // Otherwise, its process was killed before the first record.
        let lock = files(&folder, "lock").remove(0);
        drop(writer);
        fs::write(&files(&folder, "db")[0], "").unwrap();
        if !is_left {
            fs::write(lock, "").unwrap();
        }
        assert_eq!(adopt(&mut *begin(&folder)).damaged, lost);
        assert_eq!((files(&folder, "db").len(), files(&folder, "lock").len()), (0, 0));
    }
}

#[test]
fn a_log_without_its_file_is_a_loss_and_set_aside() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    keep(&mut *writer, 0..300);
    let killed = killed(&folder);
    fs::remove_file(&files(&killed, "db")[0]).unwrap();
    let found = adopt(&mut *begin(&killed));
    assert_eq!((found.records.len(), found.damaged), (0, 1));
    assert_eq!((files(&killed, "damaged-wal").len(), files(&killed, "lock").len()), (1, 0));
    assert_eq!(adopt(&mut *begin(&killed)), Adopted::default(), "once");
    let outbox = SqliteOutbox::open(&*killed).unwrap();
    let entry = outbox.entries().unwrap().remove(0);
    assert_eq!(entry.bytes, fs::metadata(&files(&killed, "damaged-wal")[0]).unwrap().len());
    assert_eq!((entry.state, outbox.erase().unwrap()), (EntryState::Unreadable, 1));
    assert_eq!(fs::read_dir(&*killed).unwrap().count(), 0);
}

#[test]
fn what_is_no_database_is_set_aside_and_counted() {
    let folder = Folder::new();
    keep(&mut *begin(&folder), 0..10);
    let [path] = &files(&folder, "db")[..] else { panic!("one file") };
    fs::write(path, "no database, but a text that is long enough".repeat(40)).unwrap();
    let found = adopt(&mut *begin(&folder));
    assert_eq!((found.records.len(), found.damaged), (0, 1));
    assert_eq!((files(&folder, "damaged").len(), files(&folder, "db").len()), (1, 0));
}

#[test]
fn damage_of_one_file_costs_the_others_nothing() {
    let no_text = "UPDATE records SET kind = CAST(x'e36f' AS TEXT) WHERE id = 5";
    let no_table = "UPDATE sqlite_schema SET name = 'recorss', tbl_name = 'recorss',
        sql = replace(sql, 'records', 'recorss') WHERE name = 'records'";
    for (damaging, lost) in [(no_text, 1), (no_table, 10)] {
        let folder = Folder::new();
        keep(&mut *begin(&folder), 0..10);
        damage(&folder, 10..20, damaging);
        keep(&mut *begin(&folder), 20..30);
        let outbox = SqliteOutbox::open(&*folder).unwrap();
        let records: u64 = outbox.entries().unwrap().iter().map(|entry| entry.records).sum();
        let mut shown = 0;
        let each = |_: &str, _: &_| {
            shown += 1;
            Ok::<_, OpenError>(())
        };
        outbox.for_each(each).unwrap();
        assert_eq!((records, shown), (30 - lost, 30 - lost), "{damaging}");
        let mut heir = begin(&folder);
        let found = adopt(&mut *heir);
        assert_eq!((found.records.len() as u64, found.damaged), (30 - lost, 1), "{damaging}");
        let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
        heir.write(&ids, &[]).unwrap();
        assert_eq!((files(&folder, "lock").len(), files(&folder, "db").len()), (0, 0), "{damaging}");
    }
}

/// Xorshift, so that the places are the same in each run.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    }
}

fn flip(path: &Path, place: usize, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

/// Takes everything over, and delivers it.
fn deliver(folder: &Folder) -> Adopted {
    let mut heir = begin(folder);
    let found = adopt(&mut *heir);
    let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
    heir.write(&ids, &[]).unwrap();
    found
}

/// Writes groups of five, and removes the first of each but the last ones, as a process that delivers does.
fn write_groups(file: &mut dyn OutboxFile, groups: u32) {
    for group in 0..groups {
        let ids = keep(file, group * 5..group * 5 + 5);
        if group + 3 < groups {
            file.write(&ids[..1], &[]).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_in_a_log_is_told_or_costs_nothing() {
    for (groups, flips) in [(20, 240), (180, 4)] {
        let folder = Folder::new();
        let mut writer = begin(&folder);
        write_groups(&mut *writer, groups);
        let whole = numbers(&deliver(&killed(&folder)));
        assert!(whole.len() as u32 > groups * 4);
        let length = usize::try_from(fs::metadata(&files(&folder, "db-wal")[0]).unwrap().len()).unwrap();
        let mut random = random(u64::from(groups));
        for _ in 0..flips {
            let (place, bit) = (random(length), random(8));
            let killed = killed(&folder);
            flip(&files(&killed, "db-wal")[0], place, bit);
            let states: Vec<_> = {
                let outbox = SqliteOutbox::open(&*killed).unwrap();
                outbox.entries().unwrap().iter().map(|entry| entry.state).collect()
            };
            let found = deliver(&killed);
            let is_told = found.damaged > 0
                && states == [EntryState::Unreadable]
                && files(&killed, "damaged").len() == 1
                && files(&killed, "damaged-wal").len() == 1;
            assert!(is_told || numbers(&found) == whole, "bit {bit} at {place} of {length}");
            let outbox = SqliteOutbox::open(&*killed).unwrap();
            assert_eq!(outbox.erase().unwrap(), u64::from(is_told));
            assert_eq!(fs::read_dir(&*killed).unwrap().count(), 0);
        }
    }
}

/// The usual end of a killed process: nothing of it is damage.
#[test]
fn a_log_that_ends_within_a_group_is_no_damage() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    keep(&mut *writer, 0..10);
    let wal = |folder: &Folder| files(folder, "db-wal").remove(0);
    let before = fs::metadata(wal(&folder)).unwrap().len();
    keep(&mut *writer, 10..100);
    let after = fs::metadata(wal(&folder)).unwrap().len();
    let mut random = random(7);
    for _ in 0..30 {
        let killed = killed(&folder);
        let cut = before + random(usize::try_from(after - before).unwrap()) as u64;
        fs::OpenOptions::new().write(true).open(wal(&killed)).unwrap().set_len(cut).unwrap();
        // The next one overwrites the rest of the group, and is killed too.
        let mut heir = begin(&killed);
        let found = adopt(&mut *heir);
        assert_eq!((numbers(&found), found.damaged), ((0..10).collect(), 0), "cut at {cut}");
        heir.write(&[found.records[0].id], &[]).unwrap();
        let found = deliver(&self::killed(&killed));
        assert_eq!((numbers(&found), found.damaged), ((1..10).collect(), 0), "cut at {cut}");
    }
}

/// After a restart, old frames follow the first group of a log.
#[test]
fn a_log_begun_anew_is_no_damage_at_any_step() {
    let folder = Folder::new();
    let mut writer = begin(&folder);
    let wal = |folder: &Folder| files(folder, "db-wal").remove(0);
    keep(&mut *writer, 0..50);
    let mut group = 1;
    let (old, new, known) = loop {
        let old = fs::read(wal(&folder)).unwrap();
        let known = killed(&folder);
        keep(&mut *writer, group * 50..group * 50 + 50);
        let new = fs::read(wal(&folder)).unwrap();
        group += 1;
        if new.len() < old.len() {
            break (old, new, known);
        }
    };
    let before: Vec<u32> = (0..group * 50 - 50).collect();
    // A header is written at once.
    let (header, frame) = (32, 24 + 4_096);
    let steps =
        [0, header, header + 24, header + frame - 1, header + frame, new.len() - frame + 24, new.len() - 1];
    for written in steps.into_iter().chain([new.len()]) {
        let killed = killed(&known);
        fs::write(wal(&killed), [&new[..written], &old[written..]].concat()).unwrap();
        let found = deliver(&killed);
        let expected = if written == new.len() { (0..group * 50).collect() } else { before.clone() };
        assert_eq!((numbers(&found), found.damaged), (expected, 0), "{written} of {}", new.len());
    }
}

#[test]
fn a_flipped_bit_of_a_file_repeats_nothing_and_is_told() {
    const RECORDS: u32 = 600;
    let folder = Folder::new();
    let mut writer = begin(&folder);
    let ids = keep(&mut *writer, 0..RECORDS);
    // A number can change to one that is free.
    let gone: Vec<_> = ids.iter().copied().step_by(3).collect();
    writer.write(&gone, &[]).unwrap();
    drop(writer);
    let content = fs::read(&files(&folder, "db")[0]).unwrap();
    // After the first, each page begins with its kind: this one has the keys of the others.
    let inner = content.chunks(4_096).position(|page| page[0] == 5).unwrap() * 4_096;
    let leaf = (5..).find(|page| content[page * 4_096] == 13).unwrap() * 4_096;
    let mut random = random(3);
    let keys: Vec<_> = (0..80).map(|_| inner + random(4_096)).collect();
    let cells: Vec<_> = (0..80).map(|_| leaf + random(4_096)).collect();
    let others: Vec<_> = (0..40).map(|_| random(content.len())).collect();
    for place in keys.into_iter().chain(cells).chain(others) {
        let (killed, bit) = (killed(&folder), random(8));
        flip(&files(&killed, "db")[0], place, bit);
        let found = deliver(&killed);
        let found_numbers = numbers(&found);
        let different: BTreeSet<_> = found_numbers.iter().collect();
        assert_eq!(different.len(), found_numbers.len(), "bit {bit} at {place}: some came twice");
        assert!(found_numbers.iter().all(|number| number % 3 != 0), "bit {bit} at {place}");
        let is_whole = found_numbers.len() as u32 == RECORDS / 3 * 2;
        // One that looks like another application's stays where it is.
        let is_told = found.damaged > 0 || !files(&killed, "db").is_empty();
        assert!(is_whole || is_told, "bit {bit} at {place}: {} of {RECORDS}", found_numbers.len());
    }
}
