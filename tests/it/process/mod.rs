//! The life and death of the process: forks, exits, signals. Each case runs in a process of its own.

mod exit;
mod fork;
mod forked;
mod signals;
