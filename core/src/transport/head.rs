//! How long the head of a request may take once it has begun.
//!
//! HTTP/2 has the header block held in [`super::relax`] until it is whole. HTTP/1.1 has the bytes that come while no request
//! is served; a connection that sends none is only idle, and has the patience of its own for that.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// What an HTTP/1.1 connection is doing: odd while it serves a request, and another number for each request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<AtomicU64>);

/// A request that is being served, until dropped.
#[derive(Debug)]
pub(crate) struct Turn(Turns);

impl Turns {
    /// The head of a request is there.
    pub(crate) fn begin(&self) -> Turn {
        self.0.fetch_add(1, Ordering::AcqRel);
        Turn(self.clone())
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Bounds the time of each head of a connection.
pub(super) struct HeadTimer {
    patience: Duration,
    turns: Turns,
    /// For the head that has begun, and in which turn.
    running: Option<(u64, Pin<Box<Sleep>>)>,
}

impl HeadTimer {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, turns: Turns::default(), running: None }
    }

    pub(super) fn turns(&self) -> Turns {
        self.turns.clone()
    }

    /// Bytes came, of HTTP/1.1 or of whole frames of HTTP/2.
    pub(super) fn came(&mut self, http2: bool) {
        if http2 {
            self.running = None;
            return;
        }
        let turn = self.turns.now();
        self.running.take_if(|(of, _)| *of != turn);
        if turn.is_multiple_of(2) && self.running.is_none() {
            self.running = Some((turn, Box::pin(sleep(self.patience))));
        }
    }

    /// No bytes came; `held` says that a header block of HTTP/2 has begun. Ready when it took too long.
    pub(super) fn poll_late(&mut self, held: bool, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turns.now();
        self.running.take_if(|(of, _)| *of != turn);
        if held && self.running.is_none() {
            self.running = Some((turn, Box::pin(sleep(self.patience))));
        }
        match &mut self.running {
            Some((_, timer)) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}
