//! What is asked for, and how.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout_at;

use super::held::Held;
use super::keeper::Keeper;
use super::line::look;
use super::names;
use super::turn::{Turn, turn, wait};
use super::{Contender, Locks, Standing};
use crate::error::{Error, Result};
use crate::spelling::quoted;
use crate::time::deadline_after;

/// How long one that vanished keeps others waiting, unless it is said otherwise.
const TTL: Duration = Duration::from_secs(15);
/// The shortest time to live, and the longest.
const MIN_TTL: Duration = Duration::from_millis(100);
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// After so long, one that waits without a limit says so.
const LONG: Duration = Duration::from_secs(60);

/// Something that is to be held: a lock, a seat of a semaphore, a leadership. Awaited, it waits for its turn.
#[derive(Debug)]
#[must_use = "nothing is asked for until it is awaited"]
pub struct Claim {
    locks: Arc<dyn Locks>,
    kind: &'static str,
    name: String,
    room: usize,
    ttl: Duration,
    wait: Duration,
    who: Option<String>,
    note: String,
}

impl dyn Locks {
    /// A lock: one holds it at a time, and the others wait in the order in which they came. Names have 1 to 256 bytes, of any text.
    pub fn lock(self: &Arc<Self>, name: impl Into<String>) -> Claim {
        self.claim("lock", name.into(), 1)
    }

    /// The lock, if it is free now; none when another holds it or waits for it.
    ///
    /// # Errors
    /// As [`Claim::now`].
    pub async fn try_lock(self: &Arc<Self>, name: impl Into<String>) -> Result<Option<Held>> {
        self.lock(name).now().await
    }

    /// A seat of a semaphore: as many hold one at a time as it has seats. All who ask for one say the same number of them.
    pub fn semaphore(self: &Arc<Self>, name: impl Into<String>, seats: usize) -> Claim {
        self.claim("semaphore", name.into(), seats)
    }

    /// The leadership of an election: one leads at a time, the others stand by. See [`leader`](#method.leader) for those who look on, and
    /// [`run_as_leader`](#method.run_as_leader) for one that stands again when it has lost.
    pub fn elect(self: &Arc<Self>, name: impl Into<String>) -> Claim {
        self.claim("leader", name.into(), 1)
    }

    pub(super) fn barrier(self: &Arc<Self>, name: String) -> Claim {
        self.claim("barrier", name, 1)
    }

    pub(super) fn once(self: &Arc<Self>, name: String) -> Claim {
        self.claim("once", name, 1)
    }

    fn claim(self: &Arc<Self>, kind: &'static str, name: String, room: usize) -> Claim {
        let locks = self.clone();
        let note = String::new();
        Claim { locks, kind, name, room, ttl: TTL, wait: Duration::MAX, who: None, note }
    }
}

impl Claim {
    /// How long a holder that vanished keeps the others waiting: 15 s, unless it is set. It is renewed three times as often. At least
    /// 100 ms, at most a day, and whole milliseconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The longest wait for others: for ever, unless it is set; not at all for zero. That its place in line is taken and looked at is not
    /// part of it.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// What others are told when they wait for it, at most 1024 bytes; the names of machine and process, unless it is set. With it, one
    /// that holds it already and asks again from the same process is refused, where it would wait for itself.
    pub fn who(mut self, who: impl Into<String>) -> Self {
        self.who = Some(who.into());
        self
    }

    /// What it says of itself to those who look, for example the address of a leader; at most 1024 bytes.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// It, if it is to be had without waiting for others.
    ///
    /// # Errors
    /// As awaiting it, but for `DEADLINE_EXCEEDED` on behalf of others.
    pub async fn now(self) -> Result<Option<Held>> {
        let line = self.line()?;
        // Those who only look are in nobody's way.
        let ahead = look(&*self.locks, &line).await?;
        self.check_own(&ahead)?;
        if ahead.len() >= self.room {
            return Ok(None);
        }
        let keeper = self.enter(&line).await?;
        match turn(&keeper, self.room).await? {
            Turn::Now => Ok(Some(Held::new(keeper, self.name))),
            Turn::Behind(_) | Turn::Out => {
                let _ = keeper.leave().await;
                Ok(None)
            }
        }
    }

    /// What it is asked for as.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The line that is for it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be asked for.
    pub(super) fn line(&self) -> Result<String> {
        let invalid = |text: String| Err(Error::invalid_argument(text));
        if !(MIN_TTL..=MAX_TTL).contains(&self.ttl) {
            return invalid(format!(
                "a time to live of {:?} is not between {MIN_TTL:?} and a day",
                self.ttl
            ));
        }
        if self.room == 0 {
            return invalid(format!("the semaphore {} has no seats", quoted(&self.name)));
        }
        names::check_text("who asks", self.who.as_deref().unwrap_or_default())?;
        names::check_text("the note", &self.note)?;
        names::line(self.kind, &self.name)
    }

    /// # Errors
    /// `FAILED_PRECONDITION` when it would wait for itself.
    fn check_own(&self, ahead: &[Standing]) -> Result<()> {
        let Some(who) = &self.who else { return Ok(()) };
        let own = |one: &&Standing| {
            one.contender.process == names::process() && one.contender.who == *who
        };
        match ahead.iter().find(own) {
            None => Ok(()),
            Some(own) => Err(Error::failed_precondition(format!(
                "the {} {} is {} since {}, in this process, and would wait for itself: a lock is not taken twice, hand on what is held",
                self.kind,
                quoted(&self.name),
                quoted(who),
                time(own),
            ))),
        }
    }

    pub(super) async fn enter(&self, line: &str) -> Result<Keeper> {
        let contender = Contender {
            id: uuid::Uuid::new_v4().simple().to_string(),
            who: self.who.clone().unwrap_or_else(names::who),
            note: self.note.clone(),
            process: names::process(),
            ttl: Duration::from_millis(self.ttl.as_millis() as u64),
        };
        Keeper::enter(self.locks.clone(), line.to_owned(), contender).await
    }

    /// It, unless `stop` is done first: none then, and its place in line is given back. For those who end in order.
    ///
    /// # Errors
    /// As awaiting it.
    pub async fn unless(self, stop: impl Future<Output = ()>) -> Result<Option<Held>> {
        let line = self.line()?;
        let mut stop = std::pin::pin!(stop);
        let deadline = deadline_after(self.wait);
        loop {
            let keeper = self.enter(&line).await?;
            let ahead = match turn(&keeper, self.room).await? {
                Turn::Now => return Ok(Some(Held::new(keeper, self.name))),
                Turn::Behind(ahead) => ahead,
                Turn::Out => Vec::new(),
            };
            if let Err(refused) = self.check_own(&ahead) {
                let _ = keeper.leave().await;
                return Err(refused);
            }
            let waited = tokio::select! {
                biased;
                waited = timeout_at(deadline, self.wait_for(&keeper, &ahead)) => waited,
                () = &mut stop => {
                    keeper.leave().await?;
                    return Ok(None);
                }
            };
            match waited {
                Ok(true) => {
                    keeper.hold();
                    return Ok(Some(Held::new(keeper, self.name)));
                }
                // Paused or cut off for too long, it lost its place, and takes another.
                Ok(false) => {}
                Err(_) => return Err(self.late(&keeper, ahead).await),
            }
        }
    }

    async fn wait_for(&self, keeper: &Keeper, ahead: &[Standing]) -> bool {
        let turn = wait(keeper, self.room);
        if self.wait < Duration::MAX {
            return turn.await;
        }
        let mut turn = std::pin::pin!(turn);
        match tokio::time::timeout(LONG, turn.as_mut()).await {
            Ok(turn) => turn,
            Err(_) => {
                let held_by = ahead.first().map(|first| quoted(&first.contender.who));
                tracing::warn!(
                    name = self.name,
                    held_by,
                    "the {} is waited for since {LONG:?}, without a limit",
                    self.kind
                );
                turn.await
            }
        }
    }

    /// What is said when the wait is over.
    async fn late(&self, keeper: &Keeper, mut ahead: Vec<Standing>) -> Error {
        if let Ok(Turn::Behind(now)) = turn(keeper, self.room).await {
            ahead = now;
        }
        let left = keeper.leave().await;
        if let Err(error) = left {
            tracing::warn!(%error, name = self.name, "a place in line could not be given back");
        }
        let held = match ahead.first() {
            None => String::new(),
            Some(first) => {
                let here = match first.contender.process == names::process() {
                    true => ", in this process",
                    false => "",
                };
                let waiting = match ahead.len().saturating_sub(self.room) {
                    0 => String::new(),
                    more => format!(", and {more} more wait"),
                };
                let who = quoted(&first.contender.who);
                format!(": {who} holds it since {}{here}{waiting}", time(first))
            }
        };
        let free = match self.wait {
            Duration::ZERO => "is not free".to_owned(),
            wait => format!("was not free within {wait:?}"),
        };
        Error::deadline_exceeded(format!("the {} {} {free}{held}", self.kind, quoted(&self.name)))
    }
}

/// Since when one holds, for people.
fn time(standing: &Standing) -> String {
    jiff::Timestamp::try_from(standing.since)
        .map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.0}"))
}

impl IntoFuture for Claim {
    type Output = Result<Held>;
    type IntoFuture = BoxFuture<'static, Result<Held>>;

    /// Waits for it. Given up, it leaves the line.
    ///
    /// Fails with `DEADLINE_EXCEEDED` when it was not to be had within its [wait](Claim::wait), and the text says who holds it since when;
    /// with `FAILED_PRECONDITION` when it would wait for itself, `INVALID_ARGUMENT` for what cannot be asked for, `UNAVAILABLE` when
    /// what keeps the line cannot be reached.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let held = self.unless(std::future::pending()).await?;
            held.ok_or_else(|| Error::internal("a wait that nothing stops was stopped"))
        })
    }
}
