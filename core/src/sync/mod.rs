//! Locks, leaders and limits that hold between processes and machines.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use micro::store::{Batch, Change, Memory, Place, Store};
//! use micro::sync;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let store: Arc<dyn Store> = Arc::new(Memory::new());
//! let locks = sync::over(store.clone());
//!
//! let held = locks.lock("stock").ttl(Duration::from_secs(10)).await?;
//! // A holder that was paused past its time changes nothing with this: the store refuses it.
//! let changes = vec![Change::write(Place::default(), "stock", "41")];
//! let fences = vec![held.fence().await?];
//! store.apply(Batch { changes, fences, ..Batch::default() }).await?;
//! held.unlock().await
//! # }
//! ```
//!
//! Everything here is a *line* of [contenders](Contender) that some [`Locks`] keep: those who come first hold it, as many as it has
//! room for, and the others wait in the order in which they came. A contender that is not heard of for its time to live is out of
//! the line. Any [`Store`](crate::store::Store) with transactions is such a thing by [`over`]; one that has no store is
//! [provided](provide) by its scheme.
//!
//! What is promised:
//!
//! - **One holder.** No two hold a lock at one instant, by the clock of whatever keeps the line.
//! - **Loss is told first.** A holder that cannot renew is told by [`Held::lost`] before its time is over there: it counts on its own
//!   clock, from before it asked, and a tenth less. A process that is stopped meanwhile is told nothing, so
//! - **tokens fence.** Each holder gets a number above those of all before it, and a store refuses what is written under an earlier
//!   one: see [`Held::fence`].
//! - **First come, first served**, and nobody is overtaken: the place in line is the token.

mod barrier;
mod claim;
mod connect;
pub mod contract;
mod held;
mod keeper;
mod kept;
mod leader;
mod line;
mod names;
mod once;
mod over;
mod rate;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::barrier::{Barrier, barrier};
pub use self::claim::Claim;
pub(crate) use self::connect::warm_up;
pub use self::connect::{connect, provide};
pub use self::held::Held;
pub use self::leader::{Leader, Leaders, Leadership};
pub use self::once::once;
pub use self::over::over;
pub use self::rate::Rate;
use crate::error::Result;

/// Keeps lines of contenders. What is built on it is the same over all: [`lock`](#method.lock), [`semaphore`](#method.semaphore),
/// [`elect`](#method.elect), [`leader`](#method.leader).
#[async_trait]
pub trait Locks: fmt::Debug + Send + Sync + 'static {
    /// What it is called in texts, for example `memory`.
    fn name(&self) -> &str;

    /// Puts a contender at the end of a line, for its time to live. `line` is a text of letters, digits and `/%-_.`, at most 800 bytes.
    ///
    /// # Errors
    /// `UNAVAILABLE` when what keeps it cannot be reached, `INVALID_ARGUMENT` where this cannot be done at all.
    async fn enter(&self, line: &str, contender: &Contender) -> Result<Box<dyn Entry>>;

    /// Takes the contender of this id out of the line; nothing where it is not in there.
    ///
    /// # Errors
    /// `UNAVAILABLE` when what keeps it cannot be reached.
    async fn leave(&self, line: &str, id: &str) -> Result<()>;

    /// Those in a line, the first first. Each that [entered](Self::enter) before this was asked for and is still there is among them.
    ///
    /// # Errors
    /// As [`leave`](Self::leave), and `RESOURCE_EXHAUSTED` where there are too many of them.
    async fn line(&self, line: &str) -> Result<Vec<Standing>>;

    /// Tells what moves in a line: once this returns, each that comes, stays or goes.
    ///
    /// # Errors
    /// As [`leave`](Self::leave).
    async fn watch(&self, line: &str) -> Result<Box<dyn Moves>>;

    /// Has what is written under an earlier token refused from now on, where tokens mean something to what this stands on.
    ///
    /// # Errors
    /// As [`leave`](Self::leave), and `FAILED_PRECONDITION` with the reason `stale_token` where a later one was there before.
    async fn fence(&self, line: &str, token: u64) -> Result<()>;
}

/// A contender's place in a line.
#[async_trait]
pub trait Entry: Send {
    /// Above the places of all who entered before, and those of all who were ever in this line. It is the token of its holder.
    fn place(&self) -> u64;

    /// The moment up to which it is in the line for sure, counted from before that was last asked for.
    fn until(&self) -> Instant;

    /// Begins its time to live anew, at the same place; `holds_since` is when it began to hold, none while it waits. False when it is
    /// out of the line. Waiting may be given up at any time, and an error is no reason not to ask again.
    ///
    /// # Errors
    /// As [`Locks::leave`].
    async fn renew(&mut self, holds_since: Option<SystemTime>) -> Result<bool>;
}

/// What moves in a line, until it is dropped.
#[async_trait]
pub trait Moves: Send {
    /// The next move. Waiting may be given up at any time, and nothing is lost by it. A move may be left out where the same contender
    /// moved again meanwhile. None ends it, as an error does: ask for the [line](Locks::line) then, and watch again.
    ///
    /// # Errors
    /// As [`Locks::leave`].
    async fn next(&mut self) -> Result<Option<Move>>;
}

/// One that wants to hold something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Never used before, and without `/`.
    pub id: String,
    /// Who it is, for people.
    pub who: String,
    /// What it says of itself to those who look, for example its address.
    pub note: String,
    /// Differs between processes.
    pub process: u64,
    /// How long it stays in line unless it is renewed.
    pub ttl: Duration,
}

/// One in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// As it entered.
    pub contender: Contender,
    /// Its place.
    pub place: u64,
    /// When it began to hold, or else when it entered, by its own clock.
    pub since: SystemTime,
    /// The time that is left to it.
    pub expires_in: Duration,
}

/// A contender came, stays, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The contender's.
    pub id: String,
    /// The time that is left to it; none when it is gone.
    pub expires_in: Option<Duration>,
}
