//! Progress bars on standard error, where that is a terminal.

use std::io::{self, IsTerminal as _, Read};

use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};

/// One bar, or none.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A bar to be sized later; hidden where nobody would see it.
    pub(crate) fn new() -> Self {
        if io::stderr().is_terminal() { Self(ProgressBar::no_length()) } else { Self::hidden() }
    }

    /// Counts the bytes of a file.
    pub(crate) fn of_bytes(&self, name: &str, length: u64) {
        self.start(name, length, "{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    }

    /// Counts things.
    pub(crate) fn of_items(&self, name: &str, length: u64) {
        self.start(name, length, "{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    }

    /// A reader that moves the bar.
    pub(crate) fn watch<R: Read>(&self, reader: R) -> ProgressBarIter<R> {
        self.0.wrap_read(reader)
    }

    /// Moves the bar.
    pub(crate) fn advance(&self, items: u64) {
        self.0.inc(items);
    }

    /// Runs something that prints, with the bar out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn start(&self, name: &str, length: u64, template: &str) {
        if self.0.is_hidden() {
            return;
        }
        self.0.reset();
        self.0.set_length(length);
        self.0.set_message(name.to_owned());
        // The templates are those above, so that one that does not parse shows at the first look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
    }
}
