//! What is known of a connection beside the calls on it, and what ends it: silence, and want of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Answers given up after which a connection is replaced, without haste, so that what their peer still sends never adds
/// up to what `h2` allows; and what a stream counts, which may have many frames on their way.
const MAX_GIVEN_UP: usize = 16 * 1024;
const STREAM_GIVEN_UP: usize = 256;

/// Looks at a connection within the time after which it is idle.
const LOOKS: u32 = 8;
/// Between looks at a connection that is to be closed, and still has calls.
const LEAVING: Duration = Duration::from_secs(1);

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    pub(super) in_flight: AtomicUsize,
    /// No more requests: it is closed, or the peer refused one because it is going away.
    pub(super) retired: AtomicBool,
    /// Set by every byte that comes in.
    pub(super) heard: AtomicBool,
    /// What the peer speaks that is no HTTP/2, by its first bytes; 0 unless it does.
    pub(super) speaks: AtomicU8,
    /// Set by every call.
    pub(super) used: AtomicBool,
    /// An answer has come.
    pub(super) served: AtomicBool,
    /// Answers that no call waited for.
    given_up: AtomicUsize,
}

/// A call whose answer is still to come, or on its way. Dropped before the end, it was given up.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) state: Arc<ConnectionState>,
    /// What it counts when it is given up.
    weight: usize,
}

/// How a peer that has gone silent is found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probing {
    pub(super) every: Duration,
    pub(super) patience: Duration,
}

/// When a connection without calls is closed.
#[derive(Debug, Default)]
pub(super) struct Idling {
    /// After so long.
    pub(super) after: Option<Duration>,
    /// So long after it was made; it takes no more calls from then on.
    pub(super) age: Option<Duration>,
    /// Once this is true, or its other end is gone: the node has left the registry.
    pub(super) left: Option<watch::Receiver<bool>>,
    /// Once this is cancelled: its place is needed for another.
    pub(super) unwanted: CancellationToken,
}

impl ConnectionState {
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Waiting {
    pub(super) fn on(state: &Arc<ConnectionState>) -> Self {
        Self { state: state.clone(), weight: 1 }
    }

    /// The answer has begun, and may have many messages.
    pub(super) fn begun(&mut self) {
        self.weight = STREAM_GIVEN_UP;
        if !self.state.served.load(Ordering::Relaxed) {
            self.state.served.store(true, Ordering::Relaxed);
        }
    }

    /// Nothing more will come.
    pub(super) fn over(&mut self) {
        self.weight = 0;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.weight == 0 {
            return;
        }
        let before = self.state.given_up.fetch_add(self.weight, Ordering::Relaxed);
        if before + self.weight > MAX_GIVEN_UP {
            self.state.retire();
        }
    }
}

/// Ends when the peer is silent for too long after a probe. Only connections with calls are probed, and only when nothing
/// else comes in.
pub(super) async fn probe(
    pings: Option<PingPong>,
    probing: Option<Probing>,
    state: &ConnectionState,
) {
    let (Some(mut pings), Some(Probing { every, patience })) = (pings, probing) else {
        return std::future::pending().await;
    };
    loop {
        sleep(every).await;
        let heard = state.heard.swap(false, Ordering::Relaxed);
        if heard || state.in_flight.load(Ordering::Relaxed) == 0 {
            continue;
        }
        if !matches!(timeout(patience, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Ends when the connection is no longer needed: then it takes no calls, and those on it have ended.
pub(super) async fn idle(idling: Idling, state: &ConnectionState) {
    let Idling { after, age, left, unwanted } = idling;
    let unused = async {
        let Some(after) = after else { return std::future::pending().await };
        // Nothing is noted when a call ends, which would cost each of them: so it is looked at from time to time.
        let mut looks = 0;
        while looks <= LOOKS {
            sleep(after / LOOKS).await;
            let used = state.used.swap(false, Ordering::Relaxed);
            looks = if used || state.in_flight.load(Ordering::Relaxed) > 0 { 0 } else { looks + 1 };
        }
    };
    let left = async {
        let Some(mut left) = left else { return std::future::pending().await };
        let _ = left.wait_for(|left| *left).await.map(drop);
    };
    let aged = async {
        let Some(age) = age else { return std::future::pending().await };
        sleep(age).await;
    };
    tokio::select! {
        () = unused => {}
        () = aged => state.retire(),
        () = left => {}
        () = unwanted.cancelled() => {}
    }
    while state.in_flight.load(Ordering::Relaxed) > 0 {
        sleep(LEAVING).await;
    }
    state.retire();
    // A call that came by just now has it for as long as it lasts.
    while state.in_flight.load(Ordering::Relaxed) > 0 {
        sleep(LEAVING).await;
    }
}
