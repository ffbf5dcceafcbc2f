//! Objects of the bridge in the hands of Python, which drops them wherever it likes, also in a child of their process.

use std::mem::ManuallyDrop;
use std::ops::Deref;

use micro_bridge::stamp::Stamp;

/// Drops what it holds in the process it was made in, and nowhere else: in a child, threads and locks behind it are not
/// there to let go.
#[derive(Debug)]
pub(crate) struct Held<T> {
    inner: ManuallyDrop<T>,
    stamp: Stamp,
}

impl<T> Held<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner: ManuallyDrop::new(inner), stamp: Stamp::now() }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if !self.stamp.is_foreign() {
            // SAFETY: this is the only place that drops it, and nothing can look at it any more.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
    }
}
