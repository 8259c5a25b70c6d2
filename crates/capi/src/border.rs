//! What crosses the FFI boundary: texts to read, lists, structs that begin with their size, handles to give away.

use std::mem::MaybeUninit;
use std::ptr;

use serde::Serialize;

use crate::status::{Answer, ConvertStatus, Fault, need};
use crate::text::ConvertText;

impl ConvertText {
    /// The bytes, without validation.
    pub(crate) fn bytes(&self, what: &'static str) -> Answer<&[u8]> {
        list_or_empty(self.data.cast(), self.length, what)
    }

    /// The text, if there is one.
    #[inline]
    pub(crate) fn read(&self, what: &'static str) -> Answer<Option<&str>> {
        let bytes = list(self.data.cast::<u8>(), self.length, what)?;
        let not_utf8 = |_| Fault::new(ConvertStatus::InvalidText, format!("{what} is not UTF-8"));
        bytes.map(|bytes| std::str::from_utf8(bytes).map_err(not_utf8)).transpose()
    }

    /// The text, which is required.
    #[inline]
    pub(crate) fn need(&self, what: &'static str) -> Answer<&str> {
        need(self.read(what)?, what)
    }
}

/// A list that the caller keeps alive during the call; `None` for a null pointer with length zero.
#[inline]
pub(crate) fn list<'a, T>(data: *const T, length: usize, what: &'static str) -> Answer<Option<&'a [T]>> {
    if data.is_null() {
        return if length == 0 { Ok(None) } else { Err(Fault::null(what)) };
    }
    if !data.is_aligned()
        || length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(Fault::argument("a list is misaligned or too long"));
    }
    // SAFETY: not null, aligned and of a possible length, as checked; the caller of the library guarantees
    // `length` readable elements, which do not change during the call.
    Ok(Some(unsafe { std::slice::from_raw_parts(data, length) }))
}

/// A list that is empty if absent.
#[inline]
pub(crate) fn list_or_empty<'a, T>(data: *const T, length: usize, what: &'static str) -> Answer<&'a [T]> {
    Ok(list(data, length, what)?.unwrap_or(&[]))
}

/// A struct that begins with its size in bytes, so that callers compiled against another version can pass it.
///
/// # Safety
/// `repr(C)`, with a `usize` for the size as its first field; all zeros are a valid value that means nothing
/// is set.
pub(crate) unsafe trait Versioned: Copy {
    /// The size of its first version.
    const FIRST: usize;

    /// What callers must leave at zero.
    fn reserved(&self) -> u32 {
        0
    }
}

/// Whether a struct with this size can be one of a caller, perhaps with a later version of the header.
#[inline]
pub(crate) const fn is_size_of<T: Versioned>(size: usize) -> bool {
    size >= T::FIRST && size <= LONGEST
}

/// Reads options. Those that the caller does not know are unset; setting one that is unknown here is an error
/// rather than silently ignored.
pub(crate) fn read<T: Versioned>(options: *const T, what: &'static str) -> Answer<Option<T>> {
    if options.is_null() {
        return Ok(None);
    }
    let size = size_at(options, what)?;
    if !is_size_of::<T>(size) {
        return Err(Fault::argument("an option struct does not begin with its size"));
    }
    let mut known = MaybeUninit::<T>::zeroed();
    let common = size.min(size_of::<T>());
    // SAFETY: the caller of the library guarantees `size` readable bytes; zeros are a valid `T`, and so is
    // what a caller has set in it, because its fields are integers and pointers.
    let known = unsafe {
        ptr::copy_nonoverlapping(options.cast::<u8>(), known.as_mut_ptr().cast::<u8>(), common);
        known.assume_init()
    };
    let beyond = options.cast::<u8>().wrapping_add(common);
    if list_or_empty(beyond, size - common, what)?.iter().any(|byte| *byte != 0) || known.reserved() != 0 {
        return Err(Fault::argument("an option is set that this version of the library does not know"));
    }
    Ok(Some(known))
}

/// No struct will ever be longer: such a number is not a size.
const LONGEST: usize = 1 << 16;

/// A caller's struct for a result, which begins with its size. Made before a call does anything, so that a wrong one
/// changes nothing.
pub(crate) struct Place<T> {
    at: *mut T,
    size: usize,
}

impl<T: Versioned> Place<T> {
    #[inline(always)]
    pub(crate) fn new(at: *mut T, what: &'static str) -> Answer<Self> {
        Self::optional(at, what)?.ok_or_else(|| Fault::null(what))
    }

    /// `None` for a null pointer.
    #[inline(always)]
    pub(crate) fn optional(at: *mut T, what: &'static str) -> Answer<Option<Self>> {
        if at.is_null() {
            return Ok(None);
        }
        let size = size_at(at, what)?;
        if !is_size_of::<T>(size) {
            return Err(Fault::argument("a result struct does not begin with its size"));
        }
        Ok(Some(Self { at, size }))
    }

    /// Writes as much as fits of a value that begins with its own size; the caller's size is kept.
    #[inline]
    pub(crate) fn write(self, value: T) {
        if self.size == size_of::<T>() {
            // SAFETY: not null and aligned, as checked; the caller of the library guarantees `size` writable bytes.
            unsafe { self.at.write(value) };
        } else {
            self.write_part(value);
        }
    }

    /// Apart from `write`, which then needs no copy of the value: its fields go where the caller wants them.
    #[cold]
    #[inline(never)]
    fn write_part(self, value: T) {
        let (value, size) = ((&raw const value).cast::<u8>(), size_of::<usize>());
        // SAFETY: as above; at most the size of the value is written, and what comes first is the size.
        unsafe {
            let rest = self.at.cast::<u8>().add(size);
            ptr::copy_nonoverlapping(value.add(size), rest, self.size.min(size_of::<T>()) - size);
        }
    }
}

#[inline]
fn size_at<T: Versioned>(pointer: *const T, what: &'static str) -> Answer<usize> {
    if !pointer.is_aligned() {
        return Err(Fault::argument(&format!("{what} is misaligned")));
    }
    // SAFETY: not null, as the callers check, and aligned; the caller of the library guarantees that the size
    // is there.
    Ok(unsafe { pointer.cast::<usize>().read() })
}

/// Where a call stores a value for the caller; null if the caller does not want it.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<T>>;

/// Where a call stores a handle that the caller then owns.
pub(crate) type Given<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;

/// Gives a handle away, or stores null if the call fails.
pub(crate) fn give<T>(place: Given<'_, T>, what: &'static str, make: impl FnOnce() -> Answer<T>) -> Answer {
    let place = emptied(place, what)?;
    *place = Some(Box::new(make()?));
    Ok(())
}

/// Stores null, which stays if the call fails.
pub(crate) fn emptied<'a, T>(place: Given<'a, T>, what: &'static str) -> Answer<&'a mut Option<Box<T>>> {
    Ok(need(place, what)?.write(None))
}

/// Text that the caller owns and frees with `convert_string_free`.
pub struct ConvertString(String);

impl ConvertString {
    /// Any value as JSON.
    pub(crate) fn json<T: Serialize>(value: &T) -> Answer<Self> {
        Ok(Self(serde_json::to_string(value)?))
    }
}

/// The text; valid as long as the string. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_string_text(string: Option<&ConvertString>) -> ConvertText {
    string.map_or(ConvertText::NONE, |string| ConvertText::of(&string.0))
}

/// Frees the string; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_string_free(string: Option<Box<ConvertString>>) {
    drop(string);
}
