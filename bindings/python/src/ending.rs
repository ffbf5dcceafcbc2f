//! The end of the interpreter, which must find no thread in between.
//!
//! A thread that asks for the interpreter while it ends is unwound by force (before Python 3.14), and that must not go through
//! frames of Rust. So the package says when the end begins, waits until no thread is in here, and lets none in again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::prelude::*;

static ENDING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread that may run Python from in here, or wait in here to get back to it.
#[derive(Debug)]
pub(crate) struct Inside(());

impl Inside {
    /// `None` once the end has begun.
    pub(crate) fn enter() -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Self(());
        (!ENDING.load(Ordering::SeqCst)).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets no thread in any more.
#[pyfunction]
pub(crate) fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Threads that are in here.
#[pyfunction]
pub(crate) fn inside() -> usize {
    INSIDE.load(Ordering::SeqCst)
}
