//! Project tasks: `cargo xtask bench` and friends.
fn main() {}
