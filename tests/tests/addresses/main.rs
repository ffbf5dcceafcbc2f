//! Which address a node tells to whom, on machines with several networks, and when those change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

mod interfaces;
mod moves;

/// The program on other machines.
const NEIGHBOUR: &str = env!("CARGO_BIN_EXE_neighbour");

const REPLY: &str = "Hello, Ann!";
