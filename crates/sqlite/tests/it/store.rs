//! What the store keeps, bounds and refuses.

use std::time::Duration;

use convert_sdk::ports::DataStore;
use convert_sdk_sqlite::{OpenError, SqliteStore};
use rusqlite::Connection;
use serde_json::json;

use crate::folder::Folder;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let folder = Folder::new();
    let open = || SqliteStore::open(folder.join("store.db")).unwrap();
    let value = json!({"a": [1, 0.1, null, true], "ü": "\u{1f600}\n\""});
    let store = open();
    assert_eq!((store.get("k"), store.has("k")), (Ok(None), Ok(false)));
    store.set("k", value.clone(), None).unwrap();
    assert_eq!(store.set_if_absent("k", json!(1), None), Ok(false));
    drop(store);
    let store = open();
    assert_eq!((store.get("k"), store.has("k")), (Ok(Some(value)), Ok(true)));
    store.delete("k").unwrap();
    store.delete("k").unwrap();
    assert_eq!(store.set_if_absent("k", json!(2), Some(Duration::MAX)), Ok(true));
    assert_eq!(store.get("k"), Ok(Some(json!(2))));
}

#[test]
fn what_is_over_is_absent_at_once_and_removed_by_a_later_write() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.join("store.db")).unwrap();
    store.set("short", json!(1), Some(Duration::ZERO)).unwrap();
    assert_eq!((store.get("short"), store.has("short")), (Ok(None), Ok(false)));
    assert_eq!(store.claim_many(&["short", "long"], Duration::ZERO), [Ok(true), Ok(true)]);
    assert_eq!(store.claim_many(&["short", "long", "long"], MINUTE), [Ok(true), Ok(true), Ok(false)]);
    store.set("over", json!(1), Some(Duration::ZERO)).unwrap();
    store.delete("none").unwrap();
    assert_eq!(keys(&folder), ["short", "long"]);
}

#[test]
fn the_oldest_rows_leave_first_where_there_are_too_many() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.join("store.db")).max_rows(3).build().unwrap();
    for key in ["a", "b", "c", "a", "d"] {
        store.set(key, json!(1), None).unwrap();
    }
    assert_eq!(keys(&folder), ["c", "a", "d"], "what was written again is young");
}

#[test]
fn rows_leave_where_they_have_too_many_bytes() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.join("store.db")).max_bytes(1_000).build().unwrap();
    let text = json!("x".repeat(400));
    let too_large = json!("x".repeat(1_000));
    for key in ["a", "b", "c"] {
        store.set(key, text.clone(), None).unwrap();
    }
    assert_eq!(keys(&folder), ["b", "c"]);
    let set = store.set_many(&[("d", too_large.clone()), ("e", text)], None);
    assert!(matches!(&set[..], [Err(_), Ok(())]), "{set:?}");
    assert_eq!(set[0].as_ref().unwrap_err().to_string(), "data store: larger than max_bytes");
    assert!(store.set_if_absent("f", too_large, None).is_err());
    assert_eq!(keys(&folder), ["c", "e"]);
}

/// The SQLite that is bundled knows more functions than the tools of a distribution.
#[test]
fn the_triggers_need_no_recent_sqlite_and_count_bytes() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.join("store.db")).unwrap();
    store.set("ü", json!("ü"), None).unwrap();
    let file = Connection::open(folder.join("store.db")).unwrap();
    file.execute("UPDATE entries SET value = '\"üü\"'", []).unwrap();
    let totals = || {
        file.query_row("SELECT number, bytes FROM totals", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(totals(), (1, 2 + 6));
    file.execute("DELETE FROM entries", []).unwrap();
    assert_eq!(totals(), (0, 0));
    let recent = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%octet_length%'";
    assert_eq!(file.query_row(recent, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn totals_that_are_wrong_are_counted_anew() {
    let wrong =
        ["UPDATE totals SET number = 1 << 40", "UPDATE totals SET bytes = 1 << 40", "DELETE FROM totals"];
    for wrong in wrong {
        let folder = Folder::new();
        let store = SqliteStore::open(folder.join("store.db")).unwrap();
        store.set("a", json!(1), None).unwrap();
        let file = Connection::open(folder.join("store.db")).unwrap();
        file.execute_batch(wrong).unwrap();
        store.set("b", json!(1), None).unwrap();
        store.set("c", json!(1), None).unwrap();
        let agree = "SELECT number = (SELECT count(*) FROM entries) AND bytes = 2 * number FROM totals";
        assert!(file.query_row(agree, [], |row| row.get::<_, bool>(0)).unwrap(), "{wrong}");
        assert_eq!(keys(&folder), ["a", "b", "c"], "{wrong}");
    }
}

#[test]
fn totals_too_high_by_little_do_not_delete_without_end() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.join("store.db")).max_rows(3).build().unwrap();
    let file = Connection::open(folder.join("store.db")).unwrap();
    file.execute_batch("UPDATE totals SET number = 100").unwrap();
    store.set("a", json!(1), None).unwrap();
    store.set("b", json!(1), None).unwrap();
    assert_eq!(keys(&folder), ["b"]);
}

#[test]
fn where_far_too_many_are_to_leave_each_call_removes_some() {
    let folder = Folder::new();
    drop(SqliteStore::open(folder.join("store.db")).unwrap());
    let file = Connection::open(folder.join("store.db")).unwrap();
    let many = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 25000)
        INSERT INTO entries (key, value) SELECT 'k' || n, '1' FROM numbers";
    file.execute_batch(many).unwrap();
    let store = SqliteStore::builder(folder.join("store.db")).max_rows(1_000).build().unwrap();
    let set = || {
        store.set("new", json!(1), None).unwrap();
        file.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, u64>(0)).unwrap()
    };
    assert_eq!(set(), 15_001);
    // Who counted again would find this.
    file.execute_batch("UPDATE totals SET bytes = bytes + 7").unwrap();
    assert_eq!([set(), set(), set()], [5_001, 1_000, 1_000]);
    let wrong = "SELECT bytes - (SELECT sum(length(key) + length(value)) FROM entries) FROM totals";
    assert_eq!(file.query_row(wrong, [], |row| row.get::<_, u64>(0)).unwrap(), 7, "counted once");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = folder.join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    for (mode, is_refused) in [(0o666, true), (0o620, true), (0o644, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(matches!(SqliteStore::open(&path), Err(OpenError::Foreign(_))), is_refused, "{mode:o}");
    }
}

#[test]
fn a_file_that_is_open_is_not_opened_a_second_time() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.join("store.db")).unwrap();
    let second = SqliteStore::open(folder.join("store.db")).unwrap_err();
    assert!(matches!(second, OpenError::AlreadyOpen(path) if path.ends_with("store.db")));
    drop(store);
    SqliteStore::open(folder.join("store.db")).unwrap();
}

#[test]
fn what_is_no_store_is_a_typed_error_and_left_as_it_is() {
    let folder = Folder::new();
    let open = |name: &str| SqliteStore::open(folder.join(name)).unwrap_err();
    std::fs::write(folder.join("text"), "no database, but a text that is long enough".repeat(40)).unwrap();
    assert!(matches!(open("text"), OpenError::Sqlite(_, reason) if &*reason == "SQLITE_NOTADB"));
    Connection::open(folder.join("other")).unwrap().execute_batch("CREATE TABLE orders (id)").unwrap();
    let other = || std::fs::read(folder.join("other")).unwrap();
    let before = other();
    assert!(matches!(open("other"), OpenError::Format(_)));
    assert!(other() == before, "not even its journal mode is changed");
    let missing = open("missing/store.db");
    assert_eq!(missing, OpenError::File(folder.join("missing/store.db"), std::io::ErrorKind::NotFound));
    let zero = SqliteStore::builder(folder.join("zero")).max_rows(0).build().unwrap_err();
    assert_eq!(zero, OpenError::Zero("max_rows"));
    assert!(!folder.join("zero").exists());
}

#[test]
fn an_error_names_its_kind_and_neither_key_nor_value() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.join("store.db")).unwrap();
    let file = Connection::open(folder.join("store.db")).unwrap();
    file.execute("INSERT INTO entries (key, value) VALUES ('secret-key', 'secret-value')", []).unwrap();
    assert_eq!(store.get("secret-key").unwrap_err().to_string(), "data store: a value is not JSON");
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let eager = SqliteStore::builder(folder.join("eager.db")).busy_timeout(Duration::ZERO).build().unwrap();
    let other = Connection::open(folder.join("eager.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let set = eager.set("secret-key", json!(1), None);
    assert_eq!(set.unwrap_err().to_string(), "data store: SQLITE_BUSY");
    assert_eq!(eager.get("secret-key"), Ok(None), "who reads waits for nobody");
    let shown = format!("{eager:?}");
    assert!(!shown.contains("eager.db"), "{shown}");
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let store = SqliteStore::open(folder.join("store.db")).unwrap();
    store.set("k", json!(1), None).unwrap();
    for entry in std::fs::read_dir(&*folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

/// What is in the file, in the order in which it was written.
fn keys(folder: &Folder) -> Vec<String> {
    let file = Connection::open(folder.join("store.db")).unwrap();
    let mut all = file.prepare("SELECT key FROM entries ORDER BY id").unwrap();
    all.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}
