//! Generations of slots, each given out once in a process.
//!
//! Every runtime has a slot 0 in its shard 0. What keeps their ids apart are the generations: a slot leases a few at a time,
//! and what was leased is never leased again, to whichever runtime. So an id of one runtime names nothing in another, and the
//! id of what is over names nothing for ever.

use std::sync::{Arc, LazyLock};

use crate::id::{GENERATIONS, SHARDS};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Generations of one lease: few enough that short-lived runtimes waste few, many enough that leasing costs nothing.
const LEASE: u32 = 1024;

/// Keeps ids of all runtimes of the process apart.
pub(crate) static LEASES: LazyLock<Arc<Leases>> = LazyLock::new(|| Arc::new(Leases::new()));

/// What has been leased of each slot.
#[derive(Debug)]
pub(crate) struct Leases(Mutex<Leased>);

/// How many leases have been taken of each slot, by shard and index.
#[derive(Debug)]
pub(crate) struct Leased {
    taken: [Vec<u16>; SHARDS],
    /// Those taken of a slot that was never had.
    before: u16,
}

/// Generations that are one slot's own.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    next: u32,
    end: u32,
}

impl Leases {
    /// Nothing is leased yet.
    pub(crate) fn new() -> Self {
        Self::after(0)
    }

    /// As after so many leases of every slot.
    fn after(before: u16) -> Self {
        Self(Mutex::new(Leased { taken: [const { Vec::new() }; SHARDS], before }))
    }

    /// Two leases are left of each slot.
    #[cfg(test)]
    pub(crate) fn nearly_used_up() -> Self {
        Self::after((GENERATIONS / LEASE) as u16 - 2)
    }

    /// The next generations of a slot; `None` when it has had all there are.
    pub(crate) fn take(&self, shard: usize, index: usize) -> Option<Lease> {
        let mut leased = self.lock();
        let before = leased.before;
        let slots = leased.taken.get_mut(shard)?;
        if slots.len() <= index {
            slots.resize(index + 1, before);
        }
        let start = u32::from(slots[index]) * LEASE;
        if start >= GENERATIONS {
            return None;
        }
        slots[index] += 1;
        // No generation is 0.
        Some(Lease { next: start.max(1), end: (start + LEASE).min(GENERATIONS) })
    }

    /// Keeps all other threads out, for as long as this process forks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Leased> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The next generation of the slot, unless all of the lease are used.
    pub(crate) fn generation(&mut self) -> Option<u32> {
        let generation = self.next;
        if self.is_over() {
            return None;
        }
        self.next += 1;
        Some(generation)
    }

    /// True when a new lease is needed.
    pub(crate) fn is_over(&self) -> bool {
        self.next == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_of_a_place_is_given_once() {
        let leases = Leases::new();
        let mut next = 1;
        while let Some(mut lease) = leases.take(1, 2) {
            assert_eq!((lease.next, lease.generation()), (next, Some(next)));
            next = lease.end;
            lease.next = next;
            assert_eq!((lease.generation(), lease.is_over()), (None, true));
        }
        assert_eq!(next, GENERATIONS);
        assert!(
            leases.take(1, 1).is_some() && leases.take(0, 2).is_some(),
            "other slots have theirs"
        );
    }
}
