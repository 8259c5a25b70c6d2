//! Without the feature `async` no task ever waits.

/// The tasks that wait for one and the same thing: none.
#[derive(Default)]
pub(crate) struct Wakers;

impl Wakers {
    pub(crate) const fn wake_all(&self) {}
}
