//! The whole framework on a simulated network, in simulated time: partitions, loss, delay, crashes.
//!
//! Every scenario runs for several seeds; a seed decides latencies, losses and every choice of the framework, so what it finds
//! can be found again: `MICRO_SEED=7 cargo test -p micro-tests --test simulation` runs one, `MICRO_SEEDS=1000` as many.
//!
//! * [`calls`]: what holds for calls while the network misbehaves
//! * [`nodes`]: nodes that crash, vanish and are replaced
//! * [`streams`]: what holds for streams
//! * [`registry`]: callers whose registry lags, lies and goes away
//! * [`seeds`]: the same seed tells the same story
//! * [`world`], [`load`], [`network`], [`lagging`], [`trace`]: what these are made of

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expected by failing, and which seed failed by printing"
)]

mod calls;
mod lagging;
mod load;
mod network;
mod nodes;
mod registry;
mod seeds;
mod streams;
mod trace;
mod world;
