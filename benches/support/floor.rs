//! The least that an evaluation can cost: hand-written for one question, without a rule engine, a visitor memory or a
//! result beyond the variation's position.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use arc_swap::{ArcSwap, Cache};

#[cfg_attr(test, expect(unused_imports, reason = "its tests run with the SDK's"))]
#[path = "../../crates/evaluation/src/murmur.rs"]
mod murmur;

use super::project::{experience_id, experience_key};
use murmur::Murmur3;

const SEED: u32 = 9999;

/// An experiment with two variations and an audience of one text and one number.
pub(crate) struct Experiment {
    id: String,
    prefix: Murmur3,
    plan: String,
    older_than: f64,
    /// Buckets below it get the first variation.
    edge: f64,
}

/// The attributes that the audience checks.
pub(crate) struct Visitor {
    pub(crate) id: String,
    pub(crate) plan: String,
    pub(crate) age: f64,
}

/// Experiments by key.
pub(crate) struct Config {
    positions: HashMap<String, usize, RandomState>,
    experiments: Vec<Experiment>,
}

impl Config {
    /// As many experiments as the generated project has, with the same ids, keys and rules.
    pub(crate) fn new(experiments: usize) -> Self {
        let list = (0..experiments).map(|n| {
            let id = experience_id(n);
            let prefix = Murmur3::new(SEED).update(id.as_bytes());
            Experiment { id, prefix, plan: "pro".to_owned(), older_than: 18.0, edge: 5_000.0 }
        });
        Self {
            experiments: list.collect(),
            positions: {
                let mut positions = HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
                positions.extend((0..experiments).map(|n| (experience_key(n), n)));
                positions
            },
        }
    }

    fn find(&self, key: &str) -> Option<&Experiment> {
        self.experiments.get(*self.positions.get(key)?)
    }

    /// An experiment and its position.
    pub(crate) fn find_at(&self, key: &str) -> Option<(u32, &Experiment)> {
        let position = *self.positions.get(key)?;
        Some((u32::try_from(position).ok()?, self.experiments.get(position)?))
    }
}

impl Experiment {
    pub(crate) fn admits(&self, plan: &str, age: f64) -> bool {
        plan == self.plan && age > self.older_than
    }

    fn variation(&self, hash: u32) -> usize {
        let bucket = (f64::from(hash) / 4_294_967_296.0 * 10_000.0).trunc();
        usize::from(bucket >= self.edge)
    }

    /// The hash, with the part over the experiment's id precomputed.
    pub(crate) fn bucketed(&self, visitor_id: &str) -> usize {
        self.variation(self.prefix.update(visitor_id.as_bytes()).finish())
    }

    /// The rules and the hash.
    pub(crate) fn decide(&self, visitor: &Visitor) -> Option<usize> {
        self.admits(&visitor.plan, visitor.age).then(|| self.bucketed(&visitor.id))
    }

    /// The rules and the hash over a key composed in a buffer.
    fn decide_composed(&self, visitor: &Visitor, buffer: &mut String) -> Option<usize> {
        self.admits(&visitor.plan, visitor.age).then(|| {
            buffer.clear();
            buffer.push_str(&self.id);
            buffer.push_str(&visitor.id);
            self.variation(Murmur3::new(SEED).update(buffer.as_bytes()).finish())
        })
    }
}

/// A thread's access to the current config.
pub(crate) struct Floor {
    cell: Arc<ArcSwap<Config>>,
    cache: Cache<Arc<ArcSwap<Config>>, Arc<Config>>,
    buffer: String,
}

impl Floor {
    pub(crate) fn new(cell: &Arc<ArcSwap<Config>>) -> Self {
        Self { cell: Arc::clone(cell), cache: Cache::new(Arc::clone(cell)), buffer: String::new() }
    }

    /// By key, with a cached snapshot and precomputed hash prefixes.
    #[inline]
    pub(crate) fn cached(&mut self, key: &str, visitor: &Visitor) -> Option<usize> {
        self.cache.load().find(key)?.decide(visitor)
    }

    /// By key, with a snapshot loaded on each call and a composed hash key.
    #[inline]
    pub(crate) fn loaded(&mut self, key: &str, visitor: &Visitor) -> Option<usize> {
        self.cell.load().find(key)?.decide_composed(visitor, &mut self.buffer)
    }

    /// By position: the cached floor without its lookup.
    #[inline]
    pub(crate) fn prepared(&mut self, position: usize, visitor: &Visitor) -> Option<usize> {
        self.cache.load().experiments.get(position)?.decide(visitor)
    }
}
