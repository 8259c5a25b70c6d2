//! Text as it crosses the FFI boundary.

use std::ffi::c_char;
use std::ptr;

/// UTF-8 text: a pointer and a length in bytes, without a terminating zero. A null pointer with length zero
/// is no text, which differs from an empty one. Texts that are passed in are only read during the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ConvertText {
    /// The first byte.
    pub data: *const c_char,
    /// The number of bytes.
    pub length: usize,
}

impl ConvertText {
    pub(crate) const NONE: Self = Self { data: ptr::null(), length: 0 };

    #[inline]
    pub(crate) const fn of(text: &str) -> Self {
        Self { data: text.as_ptr().cast(), length: text.len() }
    }

    #[inline]
    pub(crate) fn of_optional(text: Option<&str>) -> Self {
        text.map_or(Self::NONE, Self::of)
    }

    pub(crate) const fn of_bytes(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr().cast(), length: bytes.len() }
    }
}
