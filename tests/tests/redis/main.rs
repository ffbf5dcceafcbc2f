//! A broker and a store over a real Redis server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expected by failing, and which promise it is at"
)]

mod bare;
mod contract;
mod records;
mod trouble;
