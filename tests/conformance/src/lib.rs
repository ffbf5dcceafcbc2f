//! What every language binding must do alike, and whether it does: each client against each server.
//!
//! Scenarios are data (`scenarios/*.toml`). A [`runner`] plays them with one small adapter program per
//! language, whose requests and answers are [`Line`]s; `README.md` is the contract of adapters. The
//! Rust adapter is `src/bin/adapter-rust`.
//!
//! * [`Line`]: `verb key=value …`, the unit of conversation between runner and adapter
//! * [`Payload`]: messages too large for a line, as a size and a sum
//! * [`Plan`]: what a handler is told to do
//! * [`runner`]: plays scenarios and counts

mod line;
mod payload;
mod plan;
pub mod runner;

pub use line::{Line, Unreadable, escape, unescape};
pub use payload::{INLINE, Payload, adler32, pattern};
pub use plan::Plan;
