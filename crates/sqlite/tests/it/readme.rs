//! What the README advises, done.

use convert_sdk_sqlite::SqliteStore;
use rusqlite::Connection;

use crate::folder::Folder;
use crate::sdk::{PATIENCE, serve, start, to, visitor};

/// Visitors that a pattern would confuse, each as Python's `json.dumps` writes it.
const VISITORS: &[(&str, &str)] = &[
    ("visitor-1", r#""visitor-1""#),
    ("visitor-10", r#""visitor-10""#),
    ("Visitor-1", r#""Visitor-1""#),
    ("visitor_1", r#""visitor_1""#),
    ("visitor%", r#""visitor%""#),
    (r#"visitor-1", "100370101"#, r#""visitor-1\", \"100370101""#),
    ("o'brien\\", r#""o'brien\\""#),
    ("müller \u{1f600}", r#""m\u00fcller \ud83d\ude00""#),
];

#[test]
fn the_readmes_sql_erases_one_visitor_and_nobody_else() {
    let (_, after) = include_str!("../../README.md").split_once("```sql\n").unwrap();
    let (sql, _) = after.split_once("```").unwrap();
    let folder = Folder::new();
    let emulator = serve();
    let path = folder.join("store.db");
    let core = start(to(&emulator).data_store(SqliteStore::open(&path).unwrap()));
    for (id, _) in VISITORS {
        let visitor = visitor(&core, id);
        visitor.run_experience("homepage-headline").unwrap();
        assert!(visitor.track_conversion("purchase").tracked());
    }
    core.shutdown(PATIENCE).unwrap();
    let file = Connection::open(&path).unwrap();
    for (done, (id, json)) in VISITORS.iter().enumerate() {
        file.execute_batch(&sql.replace(r#""visitor-1""#, &json.replace('\'', "''"))).unwrap();
        let mut keys = file.prepare("SELECT key FROM entries").unwrap();
        let keys: Vec<String> = keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(keys.len(), 3 * (VISITORS.len() - done - 1), "{id}: {keys:?}");
        let is_theirs = |key: &String| {
            key == &format!("state:[{json}]")
                || ["dedup", "bucketing"].iter().any(|kind| key.starts_with(&format!("{kind}:[{json}, ")))
        };
        assert!(!keys.iter().any(is_theirs), "{id}: {keys:?}");
    }
}
