//! Who is ahead in a line, followed from move to move.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Locks, Move, Moves, Standing};
use crate::error::Result;
use crate::plugin::bounded;
use crate::time::deadline_after;

/// The longest that keeping a line may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Once the time of one ahead is over, how soon the line is looked at again; twice as long each time, up to the other.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(250);

/// A line that is watched.
pub(super) struct Line<'a> {
    locks: &'a dyn Locks,
    name: &'a str,
    moves: Box<dyn Moves>,
    pause: Duration,
}

/// What became of those that were looked at.
pub(super) enum Step {
    /// One of them is gone, by what was told.
    Gone,
    /// One that was not among them moved.
    New,
    /// Another moved.
    Other,
    /// Look at the line anew: what is known of it may be old.
    Look,
}

/// Those that are looked at, with the moments at which their times are over.
pub(super) struct Ends(HashMap<String, Instant>);

impl Ends {
    pub(super) fn of<'a>(standing: impl IntoIterator<Item = &'a Standing>) -> Self {
        let end = |one: &Standing| (one.contender.id.clone(), deadline_after(one.expires_in));
        Self(standing.into_iter().map(end).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The line as it is.
///
/// # Errors
/// As [`Locks::line`], and `DEADLINE_EXCEEDED` when it does not answer.
pub(super) async fn look(locks: &dyn Locks, name: &str) -> Result<Vec<Standing>> {
    bounded("looking at a line", PATIENCE, locks.line(name)).await
}

impl<'a> Line<'a> {
    /// # Errors
    /// As [`Locks::watch`], and `DEADLINE_EXCEEDED` when it does not answer.
    pub(super) async fn watch(locks: &'a dyn Locks, name: &'a str) -> Result<Self> {
        let moves = bounded("watching a line", PATIENCE, locks.watch(name)).await?;
        Ok(Self { locks, name, moves, pause: SOON })
    }

    /// # Errors
    /// As [`look`].
    pub(super) async fn look(&mut self) -> Result<Vec<Standing>> {
        look(self.locks, self.name).await
    }

    /// Waits for the next move, or for the first end. Waiting may be given up at any time.
    ///
    /// # Errors
    /// As [`Moves::next`].
    pub(super) async fn step(&mut self, ends: &mut Ends) -> Result<Step> {
        let over = ends.0.values().min().copied();
        let over = async {
            match over {
                // A store that is late with it is not asked all the time.
                Some(over) => sleep_until(over.max(Instant::now() + self.pause)).await,
                None => std::future::pending().await,
            }
        };
        let moved = tokio::select! {
            biased;
            moved = bounded("watching a line", Duration::MAX, self.moves.next()) => moved?,
            () = over => {
                self.pause = (self.pause * 2).min(LATE);
                return Ok(Step::Look);
            }
        };
        self.pause = SOON;
        let Some(Move { id, expires_in }) = moved else {
            self.moves = bounded("watching a line", PATIENCE, self.locks.watch(self.name)).await?;
            return Ok(Step::Look);
        };
        Ok(match expires_in {
            None if ends.0.remove(&id).is_some() => Step::Gone,
            // What is told may be older than what was looked at: nobody comes back.
            Some(left) if ends.0.contains_key(&id) => {
                ends.0.insert(id, deadline_after(left));
                Step::Other
            }
            // Also one that came and went before that was told.
            Some(_) | None => Step::New,
        })
    }
}
