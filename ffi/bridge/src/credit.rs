//! How many messages of a stream a host is ready for, and how many bytes of them.
//!
//! A host grants messages. One that queues them on its own side says how many bytes that may be, too; each message that it
//! grants from then on says that it has read one, oldest first. Until then, a message counts among those that its connection
//! and its process hold.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use micro::Hold;
use tokio::sync::{Notify, Semaphore};

/// Messages a host may be ready for at once; what it grants beyond is not counted.
const MOST: usize = 1 << 20;

/// How long a message may wait for its reader before a warning.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes a host may have read before it says so. Whatever the limit, a message is delivered while no more are unread.
pub(crate) const UNSAID: usize = 64 * 1024;

/// Messages granted and not yet delivered.
#[derive(Debug)]
pub(crate) struct Credit {
    granted: Semaphore,
    ahead: Mutex<Ahead>,
    /// The host has read something.
    read: Notify,
    /// The host has been warned: once for each stream.
    warned: AtomicBool,
}

/// Messages that the host has and has not read.
#[derive(Debug, Default)]
struct Ahead {
    /// `None` for a host that is not counted on to say what it has read.
    limit: Option<usize>,
    bytes: usize,
    messages: VecDeque<(usize, Option<Hold>)>,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            granted: Semaphore::new(0),
            ahead: Mutex::default(),
            read: Notify::new(),
            warned: AtomicBool::new(false),
        }
    }
}

impl Credit {
    /// The host is ready for `messages` more, and has read as many.
    pub(crate) fn grant(&self, messages: u32) {
        let mut ahead = self.ahead();
        for _ in 0..messages {
            let Some((bytes, _)) = ahead.messages.pop_front() else { break };
            ahead.bytes -= bytes;
        }
        if ahead.limit.is_some() {
            self.read.notify_one();
        }
        drop(ahead);
        let room = MOST.saturating_sub(self.granted.available_permits());
        self.granted.add_permits(room.min(messages as usize));
    }

    /// The host has room for `bytes` of messages that are not read.
    pub(crate) fn bound(&self, bytes: usize) {
        self.ahead().limit = Some(bytes);
    }

    /// Waits until a message of `bytes` may be delivered, and counts it as delivered. `stream` is named by the warning about
    /// a reader that is slower than the stream. What is held for the message comes back for a host that does not say what it
    /// has read.
    pub(crate) async fn spend(
        &self,
        stream: &impl fmt::Display,
        bytes: usize,
        hold: Option<Hold>,
    ) -> Option<Hold> {
        if let Ok(permit) = self.granted.try_acquire()
            && self.has_room(bytes)
        {
            permit.forget();
            return self.deliver(bytes, hold);
        }
        let granted = async {
            if let Ok(permit) = self.granted.acquire().await {
                permit.forget();
            }
            while !self.has_room(bytes) {
                self.read.notified().await;
            }
        };
        tokio::pin!(granted);
        if !self.warned.load(Ordering::Relaxed) {
            if tokio::time::timeout(PATIENCE, &mut granted).await.is_ok() {
                return self.deliver(bytes, hold);
            }
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    target: "micro::bridge",
                    "{stream} is read slower than it is sent: its sender waits"
                );
            }
        }
        granted.await;
        self.deliver(bytes, hold)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let ahead = self.ahead();
        ahead.limit.is_none_or(|limit| ahead.bytes <= UNSAID || ahead.bytes + bytes <= limit)
    }

    fn deliver(&self, bytes: usize, hold: Option<Hold>) -> Option<Hold> {
        let mut ahead = self.ahead();
        if ahead.limit.is_none() {
            return hold;
        }
        ahead.bytes += bytes;
        ahead.messages.push_back((bytes, hold));
        None
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_and_warned_of_once() {
        let credit = Credit::default();
        credit.grant(1);
        credit.spend(&"quick", 1, None).await;
        assert!(!credit.warned.load(Ordering::Relaxed));
        for _ in 0..2 {
            let late = async {
                tokio::time::sleep(PATIENCE * 2).await;
                credit.grant(1);
            };
            tokio::join!(credit.spend(&"slow", 1, None), late);
            assert!(credit.warned.load(Ordering::Relaxed));
        }
    }

    #[tokio::test]
    async fn a_host_that_says_what_it_reads_is_never_ahead_by_more_than_its_bytes() {
        const LARGE: usize = 400 * 1024;
        let credit = Credit::default();
        credit.bound(1024 * 1024);
        credit.grant(64);
        for _ in 0..2 {
            credit.spend(&"stream", LARGE, None).await;
        }
        let mut third = Box::pin(credit.spend(&"stream", LARGE, None));
        assert!(futures_util::poll!(&mut third).is_pending());
        credit.grant(1);
        assert!(futures_util::poll!(&mut third).is_ready());
        // However large, a message comes once the others are read.
        let mut huge = Box::pin(credit.spend(&"stream", 9 << 20, None));
        assert!(futures_util::poll!(&mut huge).is_pending());
        credit.grant(2);
        assert!(futures_util::poll!(&mut huge).is_ready());
    }
}
