//! The `convert-emulator` program.
fn main() {}
