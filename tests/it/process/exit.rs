//! Flushes at exit.
