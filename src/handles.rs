//! Handles of entities: a key whose search is done once for each config.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use smol_str::SmolStr;

use crate::config::{ConfigSnapshot, SnapshotExt};

/// A key and where a config has it. Any number of threads, with contexts of different configs, use
/// one handle at a time: the place and the config it belongs to are one word.
struct Handle {
    key: SmolStr,
    /// The serial of the config last searched in the upper half, the place in the lower.
    found: AtomicU64,
}

/// The place of what a config does not have.
const ABSENT: u32 = u32::MAX;

impl Handle {
    const fn new(key: SmolStr) -> Self {
        Self { key, found: AtomicU64::new(0) }
    }

    #[inline]
    fn position(
        &self,
        snapshot: &ConfigSnapshot,
        search: fn(&ConfigSnapshot, &str) -> Option<usize>,
    ) -> Option<usize> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found >> 32 != u64::from(snapshot.serial()) {
            found = self.search(snapshot, search);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let position = found as u32;
        (position != ABSENT).then_some(position as usize)
    }

    #[cold]
    fn search(&self, snapshot: &ConfigSnapshot, search: fn(&ConfigSnapshot, &str) -> Option<usize>) -> u64 {
        let position = search(snapshot, &self.key).and_then(|position| u32::try_from(position).ok());
        let found = u64::from(snapshot.serial()) << 32 | u64::from(position.unwrap_or(ABSENT));
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident, $search:ident;)+) => {$(
        $(#[$doc])*
        pub struct $name(Handle);

        impl $name {
            /// A handle of a key, whether a config has it or not; searches nothing yet.
            #[must_use]
            pub fn new(key: impl Into<SmolStr>) -> Self {
                Self(Handle::new(key.into()))
            }

            /// As [`new`](Self::new), for a `static`.
            #[must_use]
            pub const fn new_static(key: &'static str) -> Self {
                Self(Handle::new(SmolStr::new_static(key)))
            }

            /// The key.
            #[must_use]
            pub fn key(&self) -> &str {
                &self.0.key
            }

            #[inline]
            pub(crate) fn position(&self, snapshot: &ConfigSnapshot) -> Option<usize> {
                self.0.position(snapshot, ConfigSnapshot::$search)
            }
        }

        impl Clone for $name {
            fn clone(&self) -> Self {
                Self::new(self.0.key.clone())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.key()).finish()
            }
        }
    )+};
}
handles! {
    /// An experience, for [`Context::run`](crate::Context::run) and
    /// [`Core::decide_many`](crate::Core::decide_many). Made by
    /// [`Core::experience`](crate::Core::experience), or by [`new`](Self::new) before there is a
    /// config.
    ///
    /// It names the experience by its key: it stays valid across refreshes, finds the experience anew
    /// where the context's config is another one than last time, and says so where it is gone. Use it
    /// with any context, from any thread, and keep it, best in a `static` or beside the core.
    ///
    /// ```
    /// use convert_sdk::ExperienceHandle;
    ///
    /// static CHECKOUT: ExperienceHandle = ExperienceHandle::new_static("checkout");
    /// assert_eq!(CHECKOUT.key(), "checkout");
    /// ```
    ExperienceHandle, experience_index;

    /// A feature, for [`Context::feature`](crate::Context::feature); otherwise as an
    /// [`ExperienceHandle`].
    FeatureHandle, feature_index;

    /// A goal, for [`Context::convert`](crate::Context::convert); otherwise as an
    /// [`ExperienceHandle`].
    GoalHandle, goal_index;
}
