//! The parts that every helper shares, without a framework.

mod cookie;
mod environment;
mod lifecycle;
mod visit;
