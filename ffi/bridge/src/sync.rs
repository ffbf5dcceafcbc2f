//! Locks and atomics of the pieces whose interleavings are checked: `tests/models` compiles them once more with loom's in this
//! place.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
