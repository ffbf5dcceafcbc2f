//! Atomics of the pieces whose interleavings are checked: `tests/models` compiles these pieces once
//! more with loom's atomics in this place, and lets loom run them in every order there is.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
