//! Config entities as served, for advanced use and debugging.

use serde_json::Value;

use super::Context;
use crate::config::{EntityKind, SnapshotExt};

/// Each lookup parses the entity's JSON again: for occasional use.
impl Context {
    /// The first entity of a kind with this key, as served.
    ///
    /// ```
    /// use convert_sdk::config::EntityKind;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/small.rs"));
    /// let visitor = core.create_context("visitor-1", ())?;
    /// let goal = visitor.get_config_entity(EntityKind::Goal, "purchase").ok_or("no such goal")?;
    /// assert_eq!(goal["id"], "3001");
    /// assert!(visitor.get_config_entity("goals".parse()?, "no-such-goal").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get_config_entity(&self, kind: EntityKind, key: &str) -> Option<Value> {
        self.snapshot.entity(kind, key)
    }

    /// The entities of a kind with these keys, in the order of the keys; unknown keys are skipped.
    #[must_use]
    pub fn get_config_entities(&self, kind: EntityKind, keys: &[&str]) -> Vec<Value> {
        keys.iter().filter_map(|key| self.get_config_entity(kind, key)).collect()
    }

    /// The first entity of a kind with this id, as served.
    #[must_use]
    pub fn get_config_entity_by_id(&self, kind: EntityKind, id: &str) -> Option<Value> {
        self.snapshot.entity_by_id(kind, id)
    }
}
