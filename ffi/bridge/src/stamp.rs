//! The process something was made in: what was made before a fork has no threads in the child, and must not be used there.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Result};
use crate::status::Status;

static FORKS: AtomicU32 = AtomicU32::new(0);

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
                "this was made before the process forked, and works in the parent alone: make a new one in the child",
            ));
        }
        Ok(())
    }
}

/// This is another process from now on.
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
