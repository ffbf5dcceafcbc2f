//! Every interleaving of the pieces that many threads use at once.
//!
//! The pieces are the own files of the core and of the bridge, compiled here once more with loom's atomics and locks in the
//! place of the standard library's: loom runs each model in every order that two threads' steps can take, and with
//! every value that a relaxed load may see. What rests on tokio's or other crates' synchronisation
//! (connections, the registry cache) cannot be modelled so; the simulation and the stress tests are for
//! that.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    reason = "pieces of the core out of their place, and what tests call"
)]

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
}

#[path = "../../../core/src/resilience/budget.rs"]
mod budget;
#[path = "../../../core/src/telemetry/histogram.rs"]
mod histogram;
#[path = "../../../ffi/bridge/src/id.rs"]
mod id;
#[path = "../../../core/src/server/in_flight.rs"]
mod in_flight;
#[path = "../../../ffi/bridge/src/inbox.rs"]
mod inbox;
#[path = "../../../ffi/bridge/src/leases.rs"]
mod leases;
#[path = "../../../core/src/selector/live.rs"]
mod live;
#[path = "../../../ffi/bridge/src/slab.rs"]
mod slab;

pub mod border;
pub mod models;
