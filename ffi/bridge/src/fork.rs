//! Forks noticed: what was made before a fork has no threads in the child, and must not be used there.
//!
//! The shell tells of each fork ([`before`], then [`in_parent`] and [`in_child`], from `pthread_atfork`); every entry compares
//! one number. Nothing inherited is dropped or joined in the child: its threads are not there to let go. The one lock that a
//! new runtime in the child shares with the old one, that of the log records, is held across the fork, so that no thread that
//! stays behind has it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Result};
use crate::log;
use crate::status::Status;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Called before a fork, on the thread that forks.
pub fn before() {
    log::hold();
}

/// Called after a fork, in the process that goes on.
pub fn in_parent() {
    log::let_go();
}

/// Called in the child of a fork.
pub fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    log::let_go();
}

/// The process something was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u32);

impl Stamp {
    /// This process.
    pub fn now() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// True in a child of the process it was made in.
    pub fn is_foreign(self) -> bool {
        self != Self::now()
    }

    /// Refuses what was made before a fork.
    ///
    /// # Errors
    /// [`Status::FORKED`].
    pub fn check(self) -> Result<()> {
        if self.is_foreign() {
            return Err(Failure::new(
                Status::FORKED,
                "made before this process was forked: make a new runtime in the child",
            ));
        }
        Ok(())
    }
}
