//! Descriptors that a child of a fork lets go of.

use std::ops::{Deref, DerefMut};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
#[cfg(unix)]
use std::sync::atomic::{AtomicU64, Ordering};

/// Descriptors that are tracked, as many as Linux gives a process unless told otherwise; those above are the child's too.
#[cfg(unix)]
const TRACKED: usize = 1 << 20;

/// A bit for each descriptor: static, so that a child can read it without a lock.
#[cfg(unix)]
static OURS: [AtomicU64; TRACKED / 64] = [const { AtomicU64::new(0) }; TRACKED / 64];

/// Calls `each` with every socket and locked file of this library, once. In a child of a fork, which uses none of them, put
/// something else in their places. Locks nothing and allocates nothing.
#[cfg(unix)]
pub fn let_go(mut each: impl FnMut(RawFd)) {
    for (word, bits) in OURS.iter().enumerate() {
        // Most words are 0, as few descriptors are open. A child has one thread, so no write of another thread is lost.
        let mut left = bits.load(Ordering::Relaxed);
        if left != 0 {
            bits.store(0, Ordering::Relaxed);
        }
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            each((word * 64) as RawFd + bit as RawFd);
        }
    }
}

/// Owns a descriptor of which a child of a fork lets go.
#[derive(Debug)]
pub(crate) struct Uninherited<T> {
    // Before the descriptor is closed: its number is soon another's.
    _mark: Mark,
    inner: T,
}

#[derive(Debug)]
struct Mark(#[cfg(unix)] RawFd);

#[cfg(unix)]
impl<T: AsRawFd> Uninherited<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { _mark: Mark::new(inner.as_raw_fd()), inner }
    }
}

#[cfg(not(unix))]
impl<T> Uninherited<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { _mark: Mark(), inner }
    }
}

#[cfg(unix)]
impl Mark {
    fn new(descriptor: RawFd) -> Self {
        if let Some((word, bit)) = place(descriptor) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Self(descriptor)
    }
}

#[cfg(unix)]
impl Drop for Mark {
    fn drop(&mut self) {
        if let Some((word, bit)) = place(self.0) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

#[cfg(unix)]
fn place(descriptor: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    Some((OURS.get(number / 64)?, 1 << (number % 64)))
}

impl<T> Deref for Uninherited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Uninherited<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_told_for_as_long_as_it_is_open() {
        // Without forgetting those of other tests.
        let told = |number| {
            place(number).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
        };
        let file = tempfile::tempfile().expect("a file");
        // A number that no other test has.
        let number = file.as_raw_fd();
        assert!(!told(number));
        let ours = Uninherited::new(file);
        assert!(told(number));
        drop(ours);
        assert!(!told(number));
        assert!(place(-1).is_none() && place(RawFd::MAX).is_none());
    }
}
