//! So much in a time, for all together.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::kept;
use super::names;
use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;
use crate::store::{Batch, Change, Condition, Level, Record, Store};
use crate::time::deadline_after;

/// How long others may be faster, one after the other, before it is given up.
const CROWDED: Duration = Duration::from_secs(5);
/// The longest time in which a bucket fills: a record lives so long.
const MAX_FULL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A bucket of permits that all who name it take from, over any store. It is filled by the clock of the store; what one takes ahead of
/// time, it waits for. It never gives more than it has, and where all of it is taken, a little less: the time of a request goes by with
/// each [`take`](Self::take).
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use micro::store::{Memory, Store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// # let store: Arc<dyn Store> = Arc::new(Memory::new());
/// // 100 mails in a second, in the whole fleet.
/// let mails = micro::sync::Rate::new(&store, "mails", 100, Duration::from_secs(1))?;
/// mails.take(1, Duration::from_secs(2)).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Rate {
    store: Arc<dyn Store>,
    key: String,
    name: String,
    /// Nanoseconds in which a permit comes.
    interval: u64,
    burst: u32,
}

impl Rate {
    /// So many permits in this time. As many may be taken at once where none was taken for so long, unless [`burst`](Self::burst) says
    /// otherwise.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name of none or more than 256 bytes, no permits, no time, more than a permit in a nanosecond, and more than 30
    /// days.
    pub fn new(store: &Arc<dyn Store>, name: &str, permits: u32, per: Duration) -> Result<Self> {
        let key = names::line("rate", name)?;
        let interval = per.as_nanos().checked_div(u128::from(permits)).unwrap_or_default();
        if interval == 0 || per > MAX_FULL {
            return Err(Error::invalid_argument(format!(
                "{permits} permits in {per:?}: at least one, in at most 30 days, and a nanosecond for each"
            )));
        }
        let (store, name) = (store.clone(), name.to_owned());
        Ok(Self { store, key, name, interval: interval as u64, burst: permits })
    }

    /// How many may be taken at once where none was taken for long: at least 1, and no more than come in 30 days.
    #[must_use]
    pub fn burst(mut self, permits: u32) -> Self {
        let most = MAX_FULL.as_nanos() / u128::from(self.interval);
        self.burst = permits.clamp(1, u32::try_from(most).unwrap_or(u32::MAX));
        self
    }

    /// Takes permits, and waits for them, if that takes no longer than `wait`; zero does not wait. Those of a wait that is given up are
    /// gone.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when they are not to be had in time: the text says when they would be. `INVALID_ARGUMENT` for more at once than the
    /// bucket holds, `UNAVAILABLE` when the store cannot be reached.
    pub async fn take(&self, permits: u32, wait: Duration) -> Result<()> {
        if permits > self.burst {
            return Err(Error::invalid_argument(format!(
                "{permits} permits at once of {}, which holds {}",
                quoted(&self.name),
                self.burst
            )));
        }
        let crowded = deadline_after(CROWDED);
        let mut pause = Duration::from_millis(1);
        loop {
            let record = self.store.read(&kept::place(), &self.key).await?;
            let (left, condition) = match &record {
                Some(record) => (self.left(record), Condition::Version(record.version)),
                None => (Duration::ZERO, Condition::Absent),
            };
            // What passes until it is written is not counted: how much of it went by before it was read is not known.
            let full = left + self.time_of(permits);
            let ready = full.saturating_sub(self.time_of(self.burst));
            if ready > wait {
                return Err(Error::resource_exhausted(format!(
                    "{} has {permits} permits in {ready:?}, and {wait:?} was the longest wait",
                    quoted(&self.name)
                )));
            }
            // Records live for whole milliseconds: what is too much is written down.
            let ttl = Duration::from_millis(full.as_nanos().div_ceil(1_000_000).max(1) as u64);
            let change =
                Change::write(kept::place(), &*self.key, (ttl - full).as_nanos().to_string())
                    .only_if(condition)
                    .expires_in(ttl);
            match self.store.apply(Batch { level: Level::Written, ..change.into() }).await {
                Ok(_) => {
                    sleep(ready).await;
                    return Ok(());
                }
                Err(error) if error.reason() == Some(Reason::Conflict) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= crowded {
                return Err(Error::resource_exhausted(format!(
                    "so many take from {} at once that others were faster for {CROWDED:?}: take more at a time, less often",
                    quoted(&self.name)
                )));
            }
            sleep(pause.mul_f64(fastrand::f64())).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The time in which so many come.
    fn time_of(&self, permits: u32) -> Duration {
        Duration::from_nanos(self.interval.saturating_mul(u64::from(permits)))
    }

    /// The time in which the bucket is full.
    fn left(&self, record: &Record) -> Duration {
        let over = std::str::from_utf8(&record.value).ok().and_then(|over| over.parse().ok());
        let left = record.expires_in.unwrap_or_default();
        // Nobody takes more than there is, so a record that says so is another's.
        left.saturating_sub(Duration::from_nanos(over.unwrap_or_default()))
    }
}
