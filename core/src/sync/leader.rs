//! Elections: those who lead, and those who look on.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::held::Held;
use super::line::{Ends, Line, Step, look};
use super::names;
use super::{Locks, Standing};
use crate::error::Result;

/// The leadership of an election, for as long as it is held.
pub type Leadership = Held;

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// As it calls itself.
    pub who: String,
    /// What it says of itself, for example its address.
    pub note: String,
    /// The number of its leadership: above those of all leaders before.
    pub token: u64,
    /// When it began to lead, by its own clock.
    pub since: SystemTime,
}

impl From<Standing> for Leader {
    fn from(standing: Standing) -> Self {
        let Standing { contender, place, since, .. } = standing;
        Self { who: contender.who, note: contender.note, token: place, since }
    }
}

impl dyn Locks {
    /// Who leads now; none without a leader.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be a name, `UNAVAILABLE` when what keeps the election cannot be reached.
    pub async fn leader(self: &Arc<Self>, name: &str) -> Result<Option<Leader>> {
        let line = look(&**self, &names::line("leader", name)?).await?;
        Ok(line.into_iter().next().map(Leader::from))
    }

    /// Who leads, from now on.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be a name.
    pub fn leaders(self: &Arc<Self>, name: &str) -> Result<Leaders> {
        let line = names::line("leader", name)?;
        Ok(Leaders { locks: self.clone(), line, told: None })
    }

    /// Does `work` whenever this one leads, until that has an end of its own: that is returned, and the leadership given back.
    /// Work whose leadership is lost is cancelled, which drops it at its next `await`, and begins anew with the next one.
    ///
    /// `claim` is what [`elect`](#method.elect) returns, with its time to live and what it says of itself.
    ///
    /// ```no_run
    /// # async fn example(locks: std::sync::Arc<dyn micro::sync::Locks>) -> micro::Result<()> {
    /// locks.run_as_leader(|| locks.elect("mailer").who("mailer-1"), |leadership| async move {
    ///     while !leadership.is_lost() {
    ///         // …
    ///     }
    ///     Ok(())
    /// }).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of the work, and those of awaiting the claim.
    pub async fn run_as_leader<F, T>(
        self: &Arc<Self>,
        claim: impl Fn() -> super::Claim,
        work: impl Fn(Arc<Leadership>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        loop {
            let leadership = Arc::new(claim().await?);
            let done = tokio::select! {
                biased;
                () = leadership.lost() => None,
                done = work(leadership.clone()) => Some(done),
            };
            let Some(done) = done else { continue };
            if let Err(error) = leadership.release().await {
                tracing::warn!(%error, "a leadership lasts until its time is over");
            }
            return done;
        }
    }
}

/// The leaders of an election, as they come and go.
pub struct Leaders {
    locks: Arc<dyn Locks>,
    line: String,
    /// The token of the leader that was told of, 0 for none.
    told: Option<u64>,
}

impl Leaders {
    /// Who leads now, when that is asked for the first time, and then the next change: none without a leader. Waiting may be given up at
    /// any time, and nothing is lost by it but leaders that have gone meanwhile.
    ///
    /// # Errors
    /// `UNAVAILABLE` when what keeps the election cannot be reached; asking again begins where this was.
    pub async fn next(&mut self) -> Result<Option<Leader>> {
        let mut line = Line::watch(&*self.locks, &self.line).await?;
        loop {
            let first = line.look().await?.into_iter().next();
            let token = first.as_ref().map_or(0, |first| first.place);
            if self.told != Some(token) {
                self.told = Some(token);
                return Ok(first.map(Leader::from));
            }
            // Nobody comes in front of a leader; without one, any move may bring one.
            let mut ends = Ends::of(&first);
            loop {
                match line.step(&mut ends).await? {
                    Step::New if first.is_none() => break,
                    Step::Other | Step::New => {}
                    Step::Gone | Step::Look => break,
                }
            }
        }
    }
}

impl fmt::Debug for Leaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaders").field("line", &self.line).finish_non_exhaustive()
    }
}
