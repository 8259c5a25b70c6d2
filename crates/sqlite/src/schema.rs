//! What is in the file of a store, from version to version.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as one of this crate's stores: `CVst`.
pub(crate) const APPLICATION: i32 = 0x4356_7374;

/// Each takes the file from the version before to its own; the first makes it.
pub(crate) const STORE: &[&str] = &[
    // What was written last has the highest id, so that the oldest can be removed first. The totals save looking at
    // every row; the triggers keep them right whoever writes, even with an SQLite too old for `octet_length`.
    "CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        value TEXT NOT NULL,
        expires INTEGER -- in milliseconds since 1970
    ) STRICT;
    CREATE INDEX expiring ON entries (expires) WHERE expires IS NOT NULL;
    CREATE TABLE totals (number INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    INSERT INTO totals VALUES (0, 0);
    CREATE TRIGGER entered AFTER INSERT ON entries BEGIN
        UPDATE totals SET number = number + 1,
            bytes = bytes + length(CAST(NEW.key AS BLOB)) + length(CAST(NEW.value AS BLOB));
    END;
    CREATE TRIGGER changed AFTER UPDATE OF key, value ON entries BEGIN
        UPDATE totals SET bytes = bytes - length(CAST(OLD.key AS BLOB)) - length(CAST(OLD.value AS BLOB))
            + length(CAST(NEW.key AS BLOB)) + length(CAST(NEW.value AS BLOB));
    END;
    CREATE TRIGGER deleted AFTER DELETE ON entries BEGIN
        UPDATE totals SET number = number - 1,
            bytes = bytes - length(CAST(OLD.key AS BLOB)) - length(CAST(OLD.value AS BLOB));
    END;",
];

/// Which of these versions a file has; `None` if it is another application's, or newer.
pub(crate) fn version(
    connection: &Connection,
    application: i32,
    versions: &[&str],
) -> rusqlite::Result<Option<usize>> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version = usize::try_from(number("user_version")?).ok();
    let is_ours = number("application_id")? == application || (version == Some(0) && tables == 0);
    Ok(version.filter(|version| is_ours && *version <= versions.len()))
}

/// Brings a file to the last of these versions; false if it is another application's, or newer.
pub(crate) fn migrate(
    connection: &mut Connection,
    application: i32,
    versions: &[&str],
) -> rusqlite::Result<bool> {
    if version(connection, application, versions)? == Some(versions.len()) {
        return Ok(true);
    }
    // Another process may be at it too.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(version) = version(&transaction, application, versions)? else { return Ok(false) };
    for step in &versions[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", application)?;
    transaction.pragma_update(None, "user_version", i64::try_from(versions.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "ALTER TABLE entries ADD COLUMN host TEXT";

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn a_file_is_brought_to_the_next_version_and_keeps_its_rows() {
        let mut file = memory();
        assert!(migrate(&mut file, APPLICATION, STORE).unwrap());
        file.execute("INSERT INTO entries (key, value) VALUES ('k', '1')", []).unwrap();
        let versions = [STORE, &[NEXT]].concat();
        for _ in 0..2 {
            assert!(migrate(&mut file, APPLICATION, &versions).unwrap());
        }
        let row = file.query_row("SELECT value, host FROM entries", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        });
        assert_eq!(row.unwrap(), ("1".to_owned(), None));
        assert!(!migrate(&mut file, APPLICATION, STORE).unwrap(), "a newer file is left alone");
    }

    #[test]
    fn a_file_of_another_application_is_left_alone() {
        let mut file = memory();
        file.execute_batch("CREATE TABLE orders (id INTEGER)").unwrap();
        assert!(!migrate(&mut file, APPLICATION, STORE).unwrap());
        file.pragma_update(None, "application_id", 7).unwrap();
        assert!(!migrate(&mut file, APPLICATION, STORE).unwrap());
    }

    #[test]
    fn the_bundled_sqlite_has_no_known_way_to_lose_rows() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
