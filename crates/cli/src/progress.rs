//! Progress bars on standard error, where that is a terminal.

use std::io::{self, IsTerminal as _, Read};

use indicatif::{ProgressBar, ProgressBarIter, ProgressDrawTarget, ProgressStyle};

/// One bar, or none.
pub(crate) struct Progress {
    bar: ProgressBar,
    visible: bool,
}

impl Progress {
    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), visible: false }
    }

    /// A bar that shows once it is sized, where somebody can see it.
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), visible: io::stderr().is_terminal() }
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
        self.bar.wrap_read(reader)
    }

    /// Moves the bar.
    pub(crate) fn advance(&self, items: u64) {
        self.bar.inc(items);
    }

    /// Runs something that prints, with the bar out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn start(&self, name: &str, length: u64, template: &str) {
        if !self.visible {
            return;
        }
        self.bar.set_length(length);
        self.bar.set_message(name.to_owned());
        // The templates are those above, so that one that does not parse shows at the first look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
    }
}
