//! Who keeps a contender in its line: a task that enters, renews and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Contender, Entry, Locks};
use crate::error::{Error, Result};
use crate::fork;
use crate::plugin::bounded;
use crate::spelling::quoted;

/// The most by which loss is told ahead of time.
const MAX_MARGIN: Duration = Duration::from_secs(1);
/// The longest pause before a renewal that failed is tried again.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// A contender that is in line for as long as this is held, and renewed meanwhile.
pub(super) struct Keeper {
    pub(super) locks: Arc<dyn Locks>,
    pub(super) line: String,
    pub(super) contender: Contender,
    pub(super) place: u64,
    time: Arc<Time>,
    lost: watch::Receiver<bool>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    /// It holds since then. Say so with the next renewal, which is due now.
    Hold(SystemTime),
    /// Leave, and say how that went.
    Leave(oneshot::Sender<Result<()>>),
}

/// How long a contender is in line for sure.
struct Time {
    base: Instant,
    /// Nanoseconds after `base`; 0 once it is over, and then for good.
    until: AtomicU64,
    /// Of the process that entered.
    generation: u32,
}

impl Time {
    fn new(until: Instant) -> Self {
        let base = Instant::now();
        let time = Self { base, until: AtomicU64::new(0), generation: fork::generation() };
        time.until.store(time.nanos(until), Ordering::Release);
        time
    }

    fn nanos(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.base).as_nanos() as u64
    }

    /// The end as it stands, unless it has come.
    fn end(&self) -> Option<Instant> {
        let until = self.until.load(Ordering::Acquire);
        (!self.is_over()).then(|| self.base + Duration::from_nanos(until))
    }

    fn is_over(&self) -> bool {
        let mut until = self.until.load(Ordering::Acquire);
        loop {
            if until == 0 || self.generation != fork::generation() {
                return true;
            }
            if self.nanos(Instant::now()) < until {
                return false;
            }
            // Once somebody was told, no renewal that comes in late makes it untold.
            match self.until.compare_exchange(until, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => until = now,
            }
        }
    }

    /// A later end; false when it was over before.
    fn extend(&self, end: Instant) -> bool {
        let end = self.nanos(end);
        let mut until = self.until.load(Ordering::Acquire);
        loop {
            if self.is_over() || until == 0 {
                return false;
            }
            match self.until.compare_exchange(until, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => until = now,
            }
        }
    }

    fn over(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// How much earlier than a store a contender says that its time is over.
fn margin(ttl: Duration) -> Duration {
    (ttl / 10).min(MAX_MARGIN)
}

impl Keeper {
    /// Enters a line. Given up, it leaves it again.
    ///
    /// # Errors
    /// As [`Locks::enter`], and `DEADLINE_EXCEEDED` when that takes longer than the contender would be in line.
    pub(super) async fn enter(
        locks: Arc<dyn Locks>,
        line: String,
        contender: Contender,
    ) -> Result<Self> {
        let (entered, answer) = oneshot::channel();
        let (orders, received) = mpsc::channel(2);
        tokio::spawn(keep(locks.clone(), line.clone(), contender.clone(), entered, received));
        let answer = answer.await.unwrap_or_else(|_| Err(runtime_ended()));
        let Entered { place, time, lost } = answer?;
        Ok(Self { locks, line, contender, place, time, lost, orders })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.time.is_over()
    }

    /// Returns once it is out of the line, or may be soon.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The keeper's end is the end, too.
        let _ = lost.wait_for(|lost| *lost).await;
        self.time.over();
    }

    /// From now on it holds.
    pub(super) fn hold(&self) {
        let _ = self.orders.try_send(Order::Hold(SystemTime::now()));
    }

    /// Leaves the line.
    ///
    /// # Errors
    /// As [`Locks::leave`]: it is out of the line after its time to live then.
    pub(super) async fn leave(&self) -> Result<()> {
        if self.time.generation != fork::generation() {
            return Ok(());
        }
        let (left, answer) = oneshot::channel();
        let sent = self.orders.send(Order::Leave(left)).await;
        self.time.over();
        if sent.is_err() {
            // It has lost its place, or left it.
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.time.generation != fork::generation() {
            // Its keeper is a task of the parent, and a thread that is not there may hold the lock of the channel.
            let (orders, _) = mpsc::channel(1);
            std::mem::forget(std::mem::replace(&mut self.orders, orders));
            let (_, lost) = watch::channel(true);
            std::mem::forget(std::mem::replace(&mut self.lost, lost));
        }
    }
}

fn runtime_ended() -> Error {
    Error::unavailable("the runtime ended before a lock was asked for")
}

struct Entered {
    place: u64,
    time: Arc<Time>,
    lost: watch::Receiver<bool>,
}

/// What it says, and how it goes.
type Renewal = (Option<SystemTime>, BoxFuture<'static, (Box<dyn Entry>, Result<bool>)>);

fn renew(mut entry: Box<dyn Entry>, since: Option<SystemTime>) -> Renewal {
    let renewal = async move {
        let renewed = bounded("renewing a lock", Duration::MAX, entry.renew(since)).await;
        (entry, renewed)
    };
    (since, Box::pin(renewal))
}

async fn keep(
    locks: Arc<dyn Locks>,
    line: String,
    contender: Contender,
    entered: oneshot::Sender<Result<Entered>>,
    mut orders: mpsc::Receiver<Order>,
) {
    let ttl = contender.ttl;
    let leave = || {
        let what = format!("leaving the line {}", quoted(&line));
        let (locks, line, id) = (locks.clone(), line.clone(), contender.id.clone());
        async move { bounded(&what, ttl, locks.leave(&line, &id)).await }
    };
    let entry = bounded("getting in line", ttl, locks.enter(&line, &contender)).await;
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => {
            let refused = error.code() == crate::Code::InvalidArgument;
            let _ = entered.send(Err(error));
            if !refused {
                // Whether it is in line or not is not known.
                let _ = leave().await;
            }
            return;
        }
    };
    let end = |entry: &dyn Entry| entry.until() - margin(ttl);
    let time = Arc::new(Time::new(end(&*entry)));
    let (tell, lost) = watch::channel(false);
    let place = entry.place();
    let _ = entered.send(Ok(Entered { place, time: time.clone(), lost }));

    let mut since = None;
    let mut due = Instant::now() + ttl / 3;
    // The entry, or what renews it.
    let (mut entry, mut renewal) = (Some(entry), None::<Renewal>);
    loop {
        // An order may be what ended it.
        let order = match (time.end(), orders.try_recv()) {
            (None, Err(mpsc::error::TryRecvError::Empty)) => break,
            (_, Err(mpsc::error::TryRecvError::Disconnected)) => Some(None),
            (_, Ok(order)) => Some(Some(order)),
            (Some(until), Err(mpsc::error::TryRecvError::Empty)) => tokio::select! {
                biased;
                order = orders.recv() => Some(order),
                () = sleep_until(until) => break,
                (back, renewed) = async {
                    match &mut renewal {
                        Some((_, renewal)) => renewal.await,
                        None => std::future::pending().await,
                    }
                } => {
                    due = match renewed {
                        Ok(true) if time.extend(end(&*back)) => Instant::now() + ttl / 3,
                        Ok(_) => break,
                        Err(error) => {
                            tracing::debug!(%error, line, "a lock could not be renewed and is tried again");
                            Instant::now() + (ttl / 10).min(MAX_PAUSE)
                        }
                    };
                    if renewal.take().is_some_and(|(said, _)| said != since) {
                        due = Instant::now();
                    }
                    entry = Some(back);
                    None
                }
                () = sleep_until(due), if entry.is_some() => {
                    renewal = entry.take().map(|entry| renew(entry, since));
                    None
                }
            },
        };
        match order {
            None => {}
            Some(Some(Order::Hold(now))) => {
                since = Some(now);
                due = Instant::now();
            }
            Some(Some(Order::Leave(left))) => {
                let _ = left.send(leave().await);
                return;
            }
            Some(None) => {
                if let Err(error) = leave().await {
                    tracing::warn!(%error, line, "a lock stays taken until its time is over");
                }
                return;
            }
        }
    }
    // Told first; others come only when the holder has had time to hear of it.
    time.over();
    let _ = tell.send(true);
    tracing::warn!(
        line,
        who = contender.who,
        place,
        "a lock was lost: it could not be renewed in time"
    );
    sleep(margin(ttl)).await;
    let _ = leave().await;
}
