//! Bytes of messages that one side holds: while they are put together, inflated, and in the hands of a handler.
//!
//! A [`Reservoir`] is what a whole server, or a client, may hold; each connection has a [`Share`] of it. Bytes are taken
//! before the memory is, and given back when the [`Hold`] on them is dropped. What finds no room waits: the body is not read
//! on, and HTTP/2's flow control stops the sender. After [`PATIENCE`] it is refused with `RESOURCE_EXHAUSTED`.
//!
//! *Fair*: a share may grow only to what stays free. So the first ones that come cannot take everything, and a connection
//! that holds nothing finds room beside those that hold much.
//!
//! *No deadlock*: messages that wait for room can hold what the others wait for. The patience of each is bounded, so one of
//! them is refused and gives back what it holds. A limit is never below what the largest message takes (see [`Reservoir::new`]),
//! so a message that is alone always gets through.
//!
//! *Cheap*: messages below [`COUNTED`] that come in one piece are not counted, as they are bounded by the number of calls; for
//! others it is two atomic additions, and a lock only where a task waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::error::{Error, Result};

/// Smaller messages are not counted.
pub(crate) const COUNTED: usize = 16 * 1024;
/// How long a message waits for room before it is refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What a server, or a client, may hold.
#[derive(Debug)]
pub(crate) struct Reservoir {
    used: AtomicUsize,
    limit: usize,
    waiting: AtomicUsize,
    freed: Notify,
}

impl Reservoir {
    /// At most `limit` bytes, or four messages of `max_message` where that is more: one that is packed takes its own bytes and
    /// as many as it may inflate to, and half of everything stays free for others.
    pub(crate) fn new(limit: usize, max_message: usize) -> Arc<Self> {
        let limit = limit.max(max_message.saturating_mul(4));
        let (used, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { used, limit, waiting, freed: Notify::new() })
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(SeqCst)
    }
}

/// What one connection, or one call, holds of a [`Reservoir`].
#[derive(Debug)]
pub(crate) struct Share {
    reservoir: Arc<Reservoir>,
    used: AtomicUsize,
    limit: usize,
}

impl Share {
    /// At most `limit` bytes, or two messages of `max_message` where that is more.
    pub(crate) fn new(reservoir: &Arc<Reservoir>, limit: usize, max_message: usize) -> Arc<Self> {
        let limit = limit.max(max_message.saturating_mul(2));
        Arc::new(Self { reservoir: reservoir.clone(), used: AtomicUsize::new(0), limit })
    }

    /// True when there was room for `bytes` more.
    fn try_take(&self, bytes: usize) -> bool {
        // Looked at first: what is taken and given back wakes all who wait, this one among them.
        let (mine, all) = (self.used.load(SeqCst), self.reservoir.used.load(SeqCst));
        if !self.fits(mine.saturating_add(bytes), all.saturating_add(bytes)) {
            return false;
        }
        let mine = self.used.fetch_add(bytes, SeqCst) + bytes;
        let all = self.reservoir.used.fetch_add(bytes, SeqCst) + bytes;
        let fits = self.fits(mine, all);
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Whether this share may hold `mine` of the bytes when `all` are held.
    fn fits(&self, mine: usize, all: usize) -> bool {
        let free = self.reservoir.limit.checked_sub(all);
        mine <= self.limit && free.is_some_and(|free| mine <= free)
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        self.reservoir.used.fetch_sub(bytes, SeqCst);
        if self.reservoir.waiting.load(SeqCst) > 0 {
            self.reservoir.freed.notify_waiters();
        }
    }

    /// A hold on `bytes` that cannot wait.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there is no room for them.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Hold> {
        match self.try_take(bytes) {
            true => Ok(Hold { share: self.clone(), bytes }),
            false => Err(self.exhausted(bytes)),
        }
    }

    /// A hold on `bytes`, whether there is room or not: they are in memory already.
    pub(crate) fn force(self: &Arc<Self>, bytes: usize) -> Hold {
        self.used.fetch_add(bytes, SeqCst);
        self.reservoir.used.fetch_add(bytes, SeqCst);
        Hold { share: self.clone(), bytes }
    }

    /// True unless this share, or all shares together, has reached its limit. A share that holds nothing has room.
    pub(crate) fn has_room(&self) -> bool {
        let mine = self.used.load(SeqCst);
        let free = self.reservoir.limit.saturating_sub(self.reservoir.used.load(SeqCst));
        mine == 0 || (mine < self.limit && mine <= free)
    }

    /// Waits until `ready` says something, and asks it again each time that bytes are given back.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.reservoir.waiting);
        loop {
            let mut freed = pin!(self.reservoir.freed.notified());
            freed.as_mut().enable();
            if let Some(ready) = ready() {
                return ready;
            }
            freed.await;
        }
    }

    #[cold]
    fn exhausted(&self, bytes: usize) -> Error {
        let all = self.reservoir.used.load(SeqCst);
        Error::resource_exhausted(format!(
            "no room for {bytes} bytes of a message: {} of {} are held for this connection and {all} of {} altogether; send less at once, or raise max_buffered",
            self.used.load(SeqCst),
            self.limit,
            self.reservoir.limit,
        ))
    }
}

/// Counted among those that wait, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Hold {
    share: Arc<Share>,
    bytes: usize,
}

impl Hold {
    fn grow(&mut self, more: usize) -> bool {
        let grown = self.share.try_take(more);
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(less) = self.bytes.checked_sub(bytes).filter(|less| *less > 0) {
            self.share.give_back(less);
            self.bytes = bytes;
        }
    }

    /// `bytes`, counted as held until they are released.
    pub(crate) fn on(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _hold: self })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.share.give_back(self.bytes);
        }
    }
}

struct Kept {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The room of the message that a reader is putting together.
pub(crate) struct Room {
    share: Arc<Share>,
    hold: Option<Hold>,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Hold>> + Send>>>,
}

impl Room {
    pub(crate) fn new(share: Arc<Share>) -> Self {
        Self { share, hold: None, waiting: None }
    }

    /// Takes `more` bytes, as soon as there is room. To be asked again with the same number while it is pending.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there was none for long.
    pub(crate) fn poll_take(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if more == 0 {
            return Poll::Ready(Ok(()));
        }
        let share = &self.share;
        let hold = self.hold.get_or_insert_with(|| Hold { share: share.clone(), bytes: 0 });
        if self.waiting.is_none() && hold.grow(more) {
            return Poll::Ready(Ok(()));
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            let share = share.clone();
            Box::pin(async move {
                let take =
                    || share.try_take(more).then(|| Hold { share: share.clone(), bytes: more });
                timeout(PATIENCE, share.until(take)).await.ok()
            })
        });
        let taken = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(match taken {
            Some(mut taken) => {
                hold.bytes += std::mem::take(&mut taken.bytes);
                Ok(())
            }
            None => Err(self.share.exhausted(more)),
        })
    }

    /// The message came to be `bytes` long.
    pub(crate) fn settle(&mut self, bytes: usize) {
        if let Some(hold) = &mut self.hold {
            hold.shrink(bytes);
        }
    }

    /// Gives up what is held.
    pub(crate) fn clear(&mut self) {
        self.hold = None;
        self.waiting = None;
    }

    /// What is held, for the new owner of the message.
    pub(crate) fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take().filter(|hold| hold.bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::Code;

    const MIB: usize = 1024 * 1024;

    fn room(reservoir: &Arc<Reservoir>, limit: usize) -> Room {
        Room::new(Share::new(reservoir, limit, 0))
    }

    async fn take(room: &mut Room, bytes: usize) -> Result<()> {
        poll_fn(|cx| room.poll_take(bytes, cx)).await
    }

    #[tokio::test]
    async fn what_is_dropped_makes_room_for_what_waits() -> Result<()> {
        let reservoir = Reservoir::new(8 * MIB, 0);
        let (mut first, mut second) = (room(&reservoir, 4 * MIB), room(&reservoir, 4 * MIB));
        take(&mut first, 4 * MIB).await?;
        let message = first.take_hold().expect("a hold").on(Bytes::from_static(b"message"));
        let part = message.slice(1..2);
        {
            let mut waiting = Box::pin(take(&mut second, 4 * MIB));
            drop((first, message));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            drop(part);
            waiting.await?;
        }
        drop(second);
        assert_eq!(reservoir.used(), 0);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_wait_for_each_other_are_refused_one_after_the_other() -> Result<()> {
        let reservoir = Reservoir::new(3 * MIB, 0);
        let (mut first, mut second) = (room(&reservoir, 4 * MIB), room(&reservoir, 4 * MIB));
        take(&mut first, MIB).await?;
        take(&mut second, MIB).await?;
        let error = take(&mut first, MIB).await.expect_err("no room");
        assert_eq!(error.code(), Code::ResourceExhausted);
        drop(first);
        take(&mut second, MIB / 2).await
    }

    #[tokio::test]
    async fn who_holds_nothing_finds_room_beside_many_who_hold_much() -> Result<()> {
        let reservoir = Reservoir::new(256 * MIB, 4 * MIB);
        let mut greedy: Vec<_> = (0..5).map(|_| room(&reservoir, 64 * MIB)).collect();
        for room in &mut greedy {
            while room
                .hold
                .get_or_insert_with(|| Hold { share: room.share.clone(), bytes: 0 })
                .grow(MIB)
            {}
        }
        assert!(reservoir.used() < 256 * MIB);
        take(&mut room(&reservoir, 64 * MIB), 4 * MIB).await
    }

    #[tokio::test]
    async fn the_largest_message_gets_through_whatever_the_limit() -> Result<()> {
        let reservoir = Reservoir::new(0, 4 * MIB);
        let mut room = Room::new(Share::new(&reservoir, 0, 4 * MIB));
        take(&mut room, 4 * MIB).await?;
        take(&mut room, 4 * MIB).await
    }
}
