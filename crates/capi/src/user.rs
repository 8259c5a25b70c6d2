//! The application's pointers that come back to it with its callbacks.

use std::ffi::c_void;

/// Called once with `user`, when it is no longer needed.
pub type ConvertRelease = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// The `user` pointer passed along with a callback.
pub(crate) struct User {
    pub(crate) pointer: *mut c_void,
    release: ConvertRelease,
}

// SAFETY: the header says on which threads callbacks are called, and that `user` must allow that.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    pub(crate) const fn new(pointer: *mut c_void, release: ConvertRelease) -> Self {
        Self { pointer, release }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the application guarantees a function of this type, which is called once.
            unsafe { release(self.pointer) };
        }
    }
}
