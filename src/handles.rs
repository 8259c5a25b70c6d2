//! Ways to name an entity: its key, or a handle, whose key is looked up once per config.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use smol_str::SmolStr;

use crate::config::{ConfigSnapshot, SnapshotExt};

/// A key and its position in a config. Threads with contexts of different configs can share one handle: the position
/// and the config that it belongs to are one atomic word.
struct Place {
    key: SmolStr,
    /// The serial of the config last searched in the upper half, the position in the lower.
    found: AtomicU64,
}

/// The position of a key that is not in the config.
const ABSENT: u32 = u32::MAX;

impl Place {
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

/// A key, or a prepared handle: what [`Context::run_experience`](crate::Context::run_experience) and the like accept.
/// Any string (`&str`, [`String`], [`SmolStr`], …) is a key, which is looked up in each call; an
/// [`ExperienceHandle`], [`FeatureHandle`] or [`GoalHandle`] caches its position. Neither allocates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a key nor a `{Handle}`",
    label = "expected text or a `{Handle}`"
)]
pub trait KeyOr<Handle>: Find<Handle> {}

impl<Handle, T: Find<Handle> + ?Sized> KeyOr<Handle> for T {}

pub(crate) mod sealed {
    use crate::config::ConfigSnapshot;

    /// Finds an entity in a config.
    pub trait Find<Handle> {
        fn key(&self) -> &str;
        fn position(&self, snapshot: &ConfigSnapshot) -> Option<usize>;
    }

    /// A kind of handle.
    pub trait Search {
        fn search(snapshot: &ConfigSnapshot, key: &str) -> Option<usize>;
    }
}

use sealed::{Find, Search};

impl<H: Search, T: AsRef<str> + ?Sized> Find<H> for T {
    #[inline]
    fn key(&self) -> &str {
        self.as_ref()
    }

    #[inline]
    fn position(&self, snapshot: &ConfigSnapshot) -> Option<usize> {
        H::search(snapshot, self.as_ref())
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident, $search:ident;)+) => {$(
        $(#[$doc])*
        pub struct $name(Place);

        impl $name {
            /// A handle for a key, whether or not a config has it; no lookup happens yet.
            #[must_use]
            pub fn new(key: impl Into<SmolStr>) -> Self {
                Self(Place::new(key.into()))
            }

            /// Like [`new`](Self::new), for a `static`.
            #[must_use]
            pub const fn new_static(key: &'static str) -> Self {
                Self(Place::new(SmolStr::new_static(key)))
            }

            /// The key.
            #[must_use]
            pub fn key(&self) -> &str {
                &self.0.key
            }

        }

        impl Search for $name {
            fn search(snapshot: &ConfigSnapshot, key: &str) -> Option<usize> {
                snapshot.$search(key)
            }
        }

        impl Find<Self> for $name {
            #[inline]
            fn key(&self) -> &str {
                &self.0.key
            }

            #[inline]
            fn position(&self, snapshot: &ConfigSnapshot) -> Option<usize> {
                self.0.position(snapshot, Self::search)
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
    /// An experience, for [`Context::run_experience`](crate::Context::run_experience) and
    /// [`Core::decide_many`](crate::Core::decide_many). Created by [`Core::experience`](crate::Core::experience), or
    /// by [`new`](Self::new) before there is a config.
    ///
    /// It names the experience by its key: it stays valid across refreshes, looks the experience up again when the
    /// context's config differs from the last one, and reports if it is gone. Use it with any context, from any
    /// thread, and keep it, ideally in a `static` or beside the core.
    ///
    /// ```
    /// use convert_sdk::ExperienceHandle;
    ///
    /// static CHECKOUT: ExperienceHandle = ExperienceHandle::new_static("checkout");
    /// assert_eq!(CHECKOUT.key(), "checkout");
    /// ```
    ExperienceHandle, experience_index;

    /// A feature, for [`Context::run_feature`](crate::Context::run_feature); otherwise as an
    /// [`ExperienceHandle`].
    FeatureHandle, feature_index;

    /// A goal, for [`Context::track_conversion`](crate::Context::track_conversion); otherwise as an
    /// [`ExperienceHandle`].
    GoalHandle, goal_index;
}
