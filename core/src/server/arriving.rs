//! Requests that are not all there yet, and how long that may take.
//!
//! A slow but honest upload goes on: each byte buys a millisecond. A caller that sends less than a kilobyte a second on average
//! is cut off once the patience is over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::Connection;
use super::in_flight::Permit;
use crate::error::{Error, Result};

/// A message that has begun.
pub(super) struct Arriving {
    began: Instant,
    patience: Duration,
    /// Bytes that had come before it.
    before: u64,
    timer: Pin<Box<Sleep>>,
}

impl Arriving {
    /// A message that begins now, when `before` bytes have come.
    pub(super) fn new(patience: Duration, before: u64) -> Self {
        let began = Instant::now();
        let due = deadline(began, patience, 0);
        Self { began, patience, before, timer: Box::pin(sleep_until(due)) }
    }

    /// Ready when `received` bytes are too few for the time that it took.
    pub(super) fn poll(&mut self, received: u64, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = deadline(self.began, self.patience, received.saturating_sub(self.before));
            if due <= Instant::now() {
                return Poll::Ready(Error::deadline_exceeded(format!(
                    "the request did not come to its end within {:?} and a millisecond for each byte: send it faster, or raise body_timeout",
                    self.patience
                )));
            }
            self.timer.as_mut().reset(due);
        }
    }
}

fn deadline(began: Instant, patience: Duration, bytes: u64) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    let time = patience.saturating_add(Duration::from_millis(bytes)).min(FAR);
    began + time
}

/// The place of a request that is not all there: in a pool of its own, so that none of these keeps a place from a request that is.
pub(super) struct Unfinished {
    connection: Arc<Connection>,
    _permit: Permit,
}

impl Unfinished {
    pub(super) fn new(connection: &Arc<Connection>, permit: Permit) -> Self {
        connection.unfinished.fetch_add(1, Relaxed);
        Self { connection: connection.clone(), _permit: permit }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.connection.unfinished.fetch_sub(1, Relaxed);
    }
}

/// What a message that is waited for is given: a place, and a time to come.
pub(super) struct Wait {
    arriving: Option<(Arriving, Unfinished)>,
    patience: Duration,
}

impl Wait {
    pub(super) fn new(patience: Duration) -> Self {
        Self { arriving: None, patience }
    }

    /// Waits on, with the place that `place` gives the first time.
    ///
    /// # Errors
    /// What `place` says, and `DEADLINE_EXCEEDED` for what is too slow.
    pub(super) fn poll<T>(
        &mut self,
        received: u64,
        cx: &mut Context<'_>,
        place: impl FnOnce() -> Result<Unfinished>,
    ) -> Poll<Result<T>> {
        let (arriving, _) = match &mut self.arriving {
            Some(arriving) => arriving,
            none => none.insert((Arriving::new(self.patience, 0), place()?)),
        };
        arriving.poll(received, cx).map(Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn late(arriving: &mut Arriving, received: u64) -> Error {
        std::future::poll_fn(|cx| arriving.poll(received, cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_off_and_progress_is_waited_for() {
        let patience = Duration::from_secs(30);
        let begun = Instant::now();
        let mut arriving = Arriving::new(patience, 100);
        late(&mut arriving, 100).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
        let begun = Instant::now();
        let mut arriving = Arriving::new(patience, 100);
        late(&mut arriving, 100 + 60_000).await;
        assert_eq!(begun.elapsed().as_secs(), 90);
    }
}
