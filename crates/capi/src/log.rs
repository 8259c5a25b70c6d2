//! Log messages to a callback.

use std::ffi::c_void;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::status::{ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;
use crate::user::{ConvertRelease, User};

/// The severity of a log message.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertLogLevel {
    /// Something failed.
    Error = 1,
    /// Something is odd.
    Warning = 2,
    /// Something of interest happened.
    Information = 3,
    /// Details.
    Debug = 4,
}

/// Called with a log message, which is valid during the call and contains no secrets or visitor data. It must
/// not throw, unwind or `longjmp`, nor call this library.
pub type ConvertLogCallback =
    Option<unsafe extern "C" fn(user: *mut c_void, level: ConvertLogLevel, message: ConvertText)>;

struct Callback {
    callback: unsafe extern "C" fn(user: *mut c_void, level: ConvertLogLevel, message: ConvertText),
    user: User,
    most: LevelFilter,
}

/// The library's own messages. Its HTTP client logs whole request lines at a level that no callback receives.
const TARGET: &str = "convert_";

impl Log for Callback {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.most && metadata.target().starts_with(TARGET)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => ConvertLogLevel::Error,
            Level::Warn => ConvertLogLevel::Warning,
            Level::Info => ConvertLogLevel::Information,
            _ => ConvertLogLevel::Debug,
        };
        let message = record.args().to_string();
        // SAFETY: the application guarantees a function of this type that does not unwind.
        unsafe { (self.callback)(self.user.pointer, level, ConvertText::of(&message)) };
    }

    fn flush(&self) {}
}

/// Sends the log messages of all cores in the process to a callback, up to `level` (a `ConvertLogLevel`);
/// without one they are discarded. It is called on any thread, several at a time, for the rest of the
/// process: `user` must allow that. Once per process: `CONVERT_STATUS_UNSUPPORTED` from the second call on.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_log_to(
    level: u32,
    callback: ConvertLogCallback,
    user: *mut c_void,
    release: ConvertRelease,
) -> ConvertStatus {
    answer(|| {
        let user = User::new(user, release);
        let callback = need(callback, "callback")?;
        let most = match level {
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            4 => LevelFilter::Debug,
            _ => return Err(Fault::argument("level is none of ConvertLogLevel")),
        };
        let set = log::set_boxed_logger(Box::new(Callback { callback, user, most }));
        set.map_err(|_| Fault::new(ConvertStatus::Unsupported, "log messages already go to a callback"))?;
        log::set_max_level(most);
        Ok(())
    })
}
