//! Status codes, the last error of each thread, and the guard around every call.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use convert_sdk::error::{
    InitializeError, InvalidOption, LoadError, LookupError, PreviewError, PumpError, RefreshError,
};
use convert_sdk::{ContextError, ConversionStatus, FeatureOff, FlushError, Undecided};

use crate::text::ConvertText;

/// The result of a call. The numbers never change; later versions may add some.
///
/// From 1 to 39 the call failed, and `convert_last_error` says why. From 40 on it is an ordinary outcome without
/// further detail: no last error is set.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertStatus {
    /// Done.
    Ok = 0,
    /// A required pointer is null.
    NullPointer = 1,
    /// A text is not UTF-8.
    InvalidText = 2,
    /// An argument is out of range, or a struct's `size` is not one of this library's, or it sets options
    /// that this version does not know, or a reserved field. Nothing has been done.
    InvalidArgument = 3,
    /// An option of the configuration was rejected; the last error names it.
    InvalidOption = 4,
    /// A bug in the library, caught at its boundary. The core still works, but please report it.
    Panic = 5,
    /// This build or this kind of core does not support that.
    Unsupported = 6,
    /// A core without threads cannot wait: use its pump.
    WouldBlock = 7,
    /// A callback has called the pump whose turn is calling it: call it after the turn.
    Busy = 8,
    /// The core has no config yet.
    NotReady = 10,
    /// The core is closed.
    Closed = 11,
    /// The time limit was reached first.
    Timeout = 12,
    /// A thread could not be started.
    Thread = 13,
    /// The config could not be fetched.
    ConfigUnavailable = 14,
    /// The given or fetched config is not valid.
    ConfigInvalid = 15,
    /// The fetched config belongs to another account or project.
    OtherProject = 16,
    /// Config data passed in directly cannot be refreshed.
    DirectConfig = 17,
    /// Not everything was delivered: records were dropped, or the only attempt failed.
    Incomplete = 18,
    /// `accept_config` has refused the config, and there was none before.
    ConfigNotAccepted = 19,
    /// The preview parameter, or an id in it, is empty or malformed.
    PreviewMalformed = 20,
    /// The experience to preview was not found.
    PreviewNoExperience = 21,
    /// The experience to preview has no such variation.
    PreviewNoVariation = 22,
    /// The experience to preview could not be fetched.
    PreviewUnavailable = 23,
    /// The config has no experience, feature, goal or other entity with this key or id.
    NotInConfig = 40,
    /// The visitor id is empty.
    NoVisitor = 41,
    /// The experience is archived.
    Archived = 42,
    /// The experience has no usable id.
    NoId = 43,
    /// The experience runs in another environment.
    Environment = 44,
    /// The location attributes do not match.
    Location = 45,
    /// The visitor is not in the audience.
    Audience = 46,
    /// The visitor has none of the custom segments.
    Segments = 47,
    /// The experience has no variations.
    NoVariations = 48,
    /// The visitor's bucket belongs to no variation that takes visitors.
    NotBucketed = 49,
    /// Two experiences share an id, and the first lacks the variation that owns the visitor's bucket.
    OtherVariations = 50,
    /// There is no variation, for a reason that this version of the library does not know.
    Undecided = 51,
    /// The config is older than `max_stale`, and `withdraw_when_stale` is set.
    Withdrawn = 52,
    /// None of the visitor's variations carries the feature.
    NotCarried = 60,
    /// The feature has no variable with this name and type, or none at this index.
    NoVariable = 61,
    /// The list has nothing at this index, or there is nothing to read at the moment.
    Nothing = 62,
    /// No turn has answered the question yet, or the answer was already taken.
    Pending = 63,
    /// Handed to the tracker, which did not say in time whether it is a duplicate. It is counted.
    Unconfirmed = 80,
    /// A duplicate, or suppressed by a preview: nothing is sent.
    Deduplicated = 81,
    /// The goal's rules do not match the rule data.
    GoalNotMatched = 82,
    /// The revenue or another number is not finite.
    InvalidData = 83,
    /// Tracking is off.
    TrackingDisabled = 84,
    /// The queue has no room for the record, which is counted as dropped.
    QueueFull = 85,
}

/// The statuses from here on set no last error.
const FIRST_OUTCOME: i32 = 40;

/// Why a call returns a status other than `Ok`.
pub(crate) struct Fault {
    status: ConvertStatus,
    /// Empty for an outcome.
    message: String,
}

pub(crate) type Answer<T = ()> = Result<T, Fault>;

thread_local! {
    static LAST: RefCell<(ConvertStatus, String)> = const { RefCell::new((ConvertStatus::Ok, String::new())) };
}

/// Runs the body of a call: no panic escapes it, and a failure becomes the thread's last error.
#[inline]
pub(crate) fn answer(work: impl FnOnce() -> Answer) -> ConvertStatus {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => ConvertStatus::Ok,
        Ok(Err(fault)) => fault.tell(),
        Err(panic) => {
            // Dropping the panic's payload could panic again.
            std::mem::forget(panic);
            Fault::new(ConvertStatus::Panic, "the library panicked").tell()
        }
    }
}

/// Like [`answer`], for a call that returns a value, which is `otherwise` on failure.
pub(crate) fn value<T>(otherwise: T, work: impl FnOnce() -> Answer<T>) -> T {
    let mut value = otherwise;
    answer(|| {
        value = work()?;
        Ok(())
    });
    value
}

impl Fault {
    pub(crate) fn new(status: ConvertStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    #[cold]
    pub(crate) fn null(what: &str) -> Self {
        Self::new(ConvertStatus::NullPointer, format!("{what} is null"))
    }

    #[cold]
    pub(crate) fn argument(what: &str) -> Self {
        Self::new(ConvertStatus::InvalidArgument, what)
    }

    #[inline]
    fn tell(self) -> ConvertStatus {
        if (self.status as i32) < FIRST_OUTCOME {
            // A thread that is ending has no last error any more.
            let _ = LAST.try_with(|last| *last.borrow_mut() = (self.status, self.message));
        }
        self.status
    }
}

/// An outcome without a failure.
impl From<ConvertStatus> for Fault {
    #[inline]
    fn from(status: ConvertStatus) -> Self {
        Self { status, message: String::new() }
    }
}

/// Unwraps a required pointer.
#[inline]
pub(crate) fn need<T>(pointer: Option<T>, what: &'static str) -> Answer<T> {
    pointer.ok_or_else(|| Fault::null(what))
}

macro_rules! faults {
    ($($error:ty => $status:expr;)+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                let status: fn(&$error) -> ConvertStatus = $status;
                Self::new(status(&error), error.to_string())
            }
        }
    )+};
}

faults! {
    InvalidOption => |_| ConvertStatus::InvalidOption;
    InitializeError => |error| match error {
        InitializeError::Load(error) => unloaded(error),
        InitializeError::Timeout => ConvertStatus::Timeout,
        InitializeError::Closed => ConvertStatus::Closed,
        InitializeError::WouldBlock => ConvertStatus::WouldBlock,
        _ => ConvertStatus::Thread,
    };
    RefreshError => |error| match error {
        RefreshError::Load(error) => unloaded(error),
        RefreshError::DirectConfig => ConvertStatus::DirectConfig,
        RefreshError::Timeout => ConvertStatus::Timeout,
        RefreshError::Closed => ConvertStatus::Closed,
        RefreshError::WouldBlock => ConvertStatus::WouldBlock,
        _ => ConvertStatus::Thread,
    };
    ContextError => |error| match error {
        ContextError::Closed => ConvertStatus::Closed,
        _ => ConvertStatus::NotReady,
    };
    LookupError => |error| match error {
        LookupError::NotInConfig => ConvertStatus::NotInConfig,
        _ => ConvertStatus::NotReady,
    };
    FlushError => |error| match error {
        FlushError::Timeout(_) => ConvertStatus::Timeout,
        FlushError::Closed(_) => ConvertStatus::Closed,
        FlushError::WouldBlock(_) => ConvertStatus::WouldBlock,
        _ => ConvertStatus::Incomplete,
    };
    PreviewError => |error| match error {
        PreviewError::EmptyId => ConvertStatus::PreviewMalformed,
        PreviewError::ExperienceNotFound => ConvertStatus::PreviewNoExperience,
        PreviewError::VariationNotFound => ConvertStatus::PreviewNoVariation,
        PreviewError::Timeout => ConvertStatus::Timeout,
        PreviewError::WouldBlock => ConvertStatus::WouldBlock,
        _ => ConvertStatus::PreviewUnavailable,
    };
    std::io::Error => |error| match error.kind() {
        std::io::ErrorKind::Unsupported => ConvertStatus::Unsupported,
        _ => ConvertStatus::Thread,
    };
    PumpError => |_| ConvertStatus::Unsupported;
    serde_json::Error => |_| ConvertStatus::InvalidArgument;
}

fn unloaded(error: &LoadError) -> ConvertStatus {
    match error {
        LoadError::Config(_) => ConvertStatus::ConfigInvalid,
        LoadError::OtherProject => ConvertStatus::OtherProject,
        LoadError::NotAccepted => ConvertStatus::ConfigNotAccepted,
        _ => ConvertStatus::ConfigUnavailable,
    }
}

impl From<Undecided> for ConvertStatus {
    #[inline]
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::NotInConfig => Self::NotInConfig,
            Undecided::NoVisitor => Self::NoVisitor,
            Undecided::Archived => Self::Archived,
            Undecided::NoId => Self::NoId,
            Undecided::Environment => Self::Environment,
            Undecided::Location => Self::Location,
            Undecided::Audience => Self::Audience,
            Undecided::Segments => Self::Segments,
            Undecided::NoVariations => Self::NoVariations,
            Undecided::NotBucketed { .. } => Self::NotBucketed,
            Undecided::OtherVariations { .. } => Self::OtherVariations,
            Undecided::Withdrawn => Self::Withdrawn,
            _ => Self::Undecided,
        }
    }
}

impl From<FeatureOff> for ConvertStatus {
    fn from(off: FeatureOff) -> Self {
        match off {
            FeatureOff::NotInConfig => Self::NotInConfig,
            FeatureOff::Withdrawn => Self::Withdrawn,
            _ => Self::NotCarried,
        }
    }
}

impl From<ConversionStatus> for ConvertStatus {
    #[inline]
    fn from(status: ConversionStatus) -> Self {
        match status {
            ConversionStatus::Queued => Self::Ok,
            ConversionStatus::Unconfirmed => Self::Unconfirmed,
            ConversionStatus::Deduplicated => Self::Deduplicated,
            ConversionStatus::GoalNotFound => Self::NotInConfig,
            ConversionStatus::GoalNotMatched => Self::GoalNotMatched,
            ConversionStatus::NoVisitor => Self::NoVisitor,
            ConversionStatus::InvalidData => Self::InvalidData,
            ConversionStatus::TrackingDisabled => Self::TrackingDisabled,
            ConversionStatus::Closed => Self::Closed,
            _ => Self::QueueFull,
        }
    }
}

/// The error of this thread's last failed call (a status below 40), in English, without secrets and visitor
/// data; empty if none has failed yet. Valid until this thread's next failed call.
#[unsafe(no_mangle)]
pub extern "C" fn convert_last_error() -> ConvertText {
    let text = LAST.try_with(|last| ConvertText::of(&last.borrow().1));
    text.unwrap_or(ConvertText::NONE)
}

/// The status that belongs to `convert_last_error`, also this thread's; `CONVERT_STATUS_OK` if there is none. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_last_status() -> ConvertStatus {
    LAST.try_with(|last| last.borrow().0).unwrap_or(ConvertStatus::Ok)
}

/// The version of the library, such as `0.1.0`. Valid forever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_version() -> ConvertText {
    ConvertText::of(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// What a panic carries may panic again when it is dropped.
    struct Again;

    impl Drop for Again {
        fn drop(&mut self) {
            panic_any("again");
        }
    }

    #[test]
    fn a_panic_becomes_a_status_and_the_last_error() {
        assert_eq!(answer(|| panic_any(Again)), ConvertStatus::Panic);
        assert_eq!(convert_last_status(), ConvertStatus::Panic);
        assert_eq!(convert_last_error().need("the last error").ok(), Some("the library panicked"));
        assert_eq!(value(7, || panic_any(Again)), 7);
        assert_eq!(answer(|| Ok(())), ConvertStatus::Ok);
    }
}
