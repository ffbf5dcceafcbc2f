//! What is held.

use std::fmt;

use tokio::sync::OnceCell;

use super::keeper::Keeper;
use crate::error::{Error, Result};
use crate::spelling::quoted;
use crate::store::Fence;

/// A lock, a seat of a semaphore, or the leadership of an election. It is renewed by itself, and given back when this is dropped; with
/// [`unlock`](Self::unlock), one knows when that is done.
///
/// A child of a fork has lost it: it is its parent's.
pub struct Held {
    keeper: Keeper,
    name: String,
    fenced: OnceCell<()>,
}

impl Held {
    pub(super) fn new(keeper: Keeper, name: String) -> Self {
        Self { keeper, name, fenced: OnceCell::new() }
    }

    /// What is held, as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who holds it, for people.
    pub fn who(&self) -> &str {
        &self.keeper.contender.who
    }

    /// The number of this holding: above those of all holders before.
    pub fn token(&self) -> u64 {
        self.keeper.place
    }

    /// What a change is made under, so that it is refused once another was the holder. From the moment that this returns, what earlier
    /// holders write under theirs is refused by the store of the lock; a store of its own refuses it from the first write
    /// under this one.
    ///
    /// # Errors
    /// `ABORTED` when it is lost, `FAILED_PRECONDITION` with the reason `stale_token` when another holds it and has said so,
    /// `UNAVAILABLE` when the store cannot be reached.
    pub async fn fence(&self) -> Result<Fence> {
        let Keeper { locks, line, contender, place, .. } = &self.keeper;
        self.check()?;
        let fenced = self.fenced.get_or_try_init(|| {
            crate::plugin::bounded("fencing a lock", contender.ttl, locks.fence(line, *place))
        });
        fenced.await?;
        self.check()?;
        Ok(Fence { lock: line.clone(), token: *place })
    }

    /// True once another may hold it soon: it could not be renewed in time. It stays true.
    pub fn is_lost(&self) -> bool {
        self.keeper.is_lost()
    }

    /// Returns when it is lost: before another holds it, by a tenth of the time to live, and by a second at most. A process that is
    /// stopped is told when it goes on. Waiting may be given up at any time.
    pub async fn lost(&self) {
        if !self.is_lost() {
            self.keeper.lost().await;
        }
    }

    /// # Errors
    /// `ABORTED` when it is lost.
    pub(super) fn check(&self) -> Result<()> {
        match self.is_lost() {
            false => Ok(()),
            true => Err(Error::new(
                crate::Code::Aborted,
                format!(
                    "{} is no longer held: it could not be renewed within {:?}, or was given back",
                    quoted(&self.name),
                    self.keeper.contender.ttl
                ),
            )),
        }
    }

    /// Gives it back; the next in line holds it. It counts as lost from then on.
    ///
    /// # Errors
    /// `UNAVAILABLE` when that cannot be told: it is free after its time to live then.
    pub async fn unlock(self) -> Result<()> {
        self.release().await
    }

    /// As [`unlock`](Self::unlock), where others still look at it.
    pub(super) async fn release(&self) -> Result<()> {
        self.keeper.leave().await
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("name", &self.name)
            .field("who", &self.who())
            .field("token", &self.token())
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}
