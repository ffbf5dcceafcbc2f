//! How many things of each kind are alive: what a leak test looks at.

use std::sync::atomic::{AtomicU64, Ordering};

/// A [`Runtime`](crate::Runtime).
pub const RUNTIME: u32 = 1;
/// A [`Queue`](crate::Queue).
pub const QUEUE: u32 = 2;
/// A [`Client`](crate::Client).
pub const CLIENT: u32 = 3;
/// A [`Server`](crate::Server).
pub const SERVER: u32 = 4;
/// An operation, stream or watch that this side began and whose end has not been told.
pub const OPERATION: u32 = 5;
/// A call that came in and is not over.
pub const CALL: u32 = 6;
/// Memory that a shell gave to its host.
pub const BYTES: u32 = 7;
/// An error that a shell gave to its host.
pub const ERROR: u32 = 8;

const KINDS: usize = 9;
static COUNTS: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];

/// Things of `kind` that are alive; of all kinds for 0.
pub fn count(kind: u32) -> u64 {
    let of = |kind: usize| COUNTS.get(kind).map_or(0, |count| count.load(Ordering::SeqCst));
    match kind {
        0 => (1..KINDS).map(of).sum(),
        kind => of(kind as usize),
    }
}

/// Counts as alive until dropped.
#[derive(Debug)]
pub struct Live(u32);

impl Live {
    /// One more of `kind`.
    pub fn new(kind: u32) -> Self {
        add(kind);
        Self(kind)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        remove(self.0);
    }
}

/// One more of `kind`, for what has no destructor of ours.
pub fn add(kind: u32) {
    if let Some(count) = COUNTS.get(kind as usize) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// One less of `kind`.
pub fn remove(kind: u32) {
    if let Some(count) = COUNTS.get(kind as usize) {
        count.fetch_sub(1, Ordering::SeqCst);
    }
}
