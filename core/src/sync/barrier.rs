//! A meeting of so many.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout_at;

use super::keeper::Keeper;
use super::kept;
use super::line::{Ends, Line, Step};
use super::{Claim, Locks, over};
use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;
use crate::store::{Change, Condition, Store};
use crate::time::deadline_after;

/// How long it is remembered who met last.
const REMEMBERED: Duration = Duration::from_secs(48 * 60 * 60);

/// A meeting of so many: awaited, it waits until all of them are there. Then they go on, and the next so many meet.
#[derive(Debug)]
#[must_use = "nobody waits until it is awaited"]
pub struct Barrier {
    store: Arc<dyn Store>,
    claim: Claim,
    parties: usize,
    wait: Duration,
}

/// A barrier for so many parties, 1 to 1000, over a store with transactions. All of them say the same number. A party that vanishes while it
/// waits is not counted once its time to live is over.
pub fn barrier(store: &Arc<dyn Store>, name: impl Into<String>, parties: usize) -> Barrier {
    let locks: Arc<dyn Locks> = over(store.clone());
    let claim = locks.barrier(name.into());
    Barrier { store: store.clone(), claim, parties, wait: Duration::MAX }
}

/// Who met last.
struct Opened {
    /// The last of them.
    place: u64,
    version: u64,
}

impl Barrier {
    /// The longest wait for others: for ever, unless it is set.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// As [`Claim::ttl`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.claim = self.claim.ttl(ttl);
        self
    }

    async fn meet(self) -> Result<()> {
        if !(1..=1000).contains(&self.parties) {
            return Err(Error::invalid_argument(format!(
                "a barrier for {} parties: there are 1 to 1000",
                self.parties
            )));
        }
        let line = self.claim.line()?;
        let deadline = deadline_after(self.wait);
        loop {
            let keeper = self.claim.enter(&line).await?;
            let met = tokio::select! {
                biased;
                met = timeout_at(deadline, self.gather(&keeper)) => met,
                () = keeper.lost() => Ok(Ok(false)),
            };
            let in_time = met.is_ok();
            // Those who met while this was no longer heard of have counted it.
            let met = match met {
                Ok(Ok(true)) => true,
                Ok(Ok(false)) | Err(_) => self.opened(&line).await?.place >= keeper.place,
                Ok(Err(error)) => return Err(error),
            };
            // Whoever leaves wakes the others.
            if let Err(error) = keeper.leave().await {
                tracing::debug!(%error, line, "a place in line could not be given back");
            }
            match (met, in_time) {
                (true, _) => return Ok(()),
                (false, true) => {}
                (false, false) => {
                    return Err(Error::deadline_exceeded(format!(
                        "not all {} parties were at the barrier {} within {:?}",
                        self.parties,
                        quoted(self.claim.name()),
                        self.wait
                    )));
                }
            }
        }
    }

    /// Waits until so many have met, and this is one of them; false when it is out of the line.
    async fn gather(&self, keeper: &Keeper) -> Result<bool> {
        let mut line = Line::watch(&*keeper.locks, &keeper.line).await?;
        loop {
            // In this order: one that opens it and leaves in between has left when this is read.
            let mut there = line.look().await?;
            let opened = self.opened(&keeper.line).await?;
            if opened.place >= keeper.place {
                return Ok(true);
            }
            if !there.iter().any(|one| one.place == keeper.place) {
                return Ok(false);
            }
            there.retain(|one| one.place > opened.place);
            if let Some(last) = there.get(self.parties - 1) {
                self.open(&keeper.line, &opened, last.place).await?;
                continue;
            }
            let mut ends = Ends::of(&there);
            while matches!(line.step(&mut ends).await?, Step::Other) {}
        }
    }

    async fn opened(&self, line: &str) -> Result<Opened> {
        let Some(record) = self.store.read(&kept::place(), line).await? else {
            return Ok(Opened { place: 0, version: 0 });
        };
        let place = serde_json::from_slice(&record.value).map_err(|error| {
            let key = quoted(line);
            Error::new(
                crate::Code::DataLoss,
                format!(
                    "the record {key} in {} is none of a barrier ({error}): delete it",
                    kept::place()
                ),
            )
        })?;
        Ok(Opened { place, version: record.version })
    }

    /// Lets all up to this place go on, unless another was faster.
    async fn open(&self, line: &str, before: &Opened, last: u64) -> Result<()> {
        let condition = match before.version {
            0 => Condition::Absent,
            version => Condition::Version(version),
        };
        let change = Change::write(kept::place(), line, last.to_string())
            .only_if(condition)
            .expires_in(REMEMBERED);
        match self.store.apply(change.into()).await {
            Err(error) if error.reason() == Some(Reason::Conflict) => Ok(()),
            done => done.map(drop),
        }
    }
}

impl IntoFuture for Barrier {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Result<()>>;

    /// Waits for the others. Given up, it is no longer counted, unless they meet at that moment.
    ///
    /// Fails with `DEADLINE_EXCEEDED` when not all came within its [wait](Barrier::wait), `INVALID_ARGUMENT` for what cannot be asked for,
    /// `UNAVAILABLE` when the store cannot be reached.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.meet())
    }
}
