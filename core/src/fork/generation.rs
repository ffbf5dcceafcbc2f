//! Tells a process from the one that it is a fork of.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks this process is away from the first that used this library.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Differs between a process and its children.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// In a child of a fork.
pub(super) fn begin() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
