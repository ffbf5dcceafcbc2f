//! Wakes those that watch: by what other processes have changed, and when records end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use micro::Result;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::query::{data_version, next_end};
use crate::shared::Shared;

/// How often it is looked whether another process has changed something.
const LOOK: Duration = Duration::from_millis(20);
/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Begins to wake them, unless that runs.
pub(crate) fn begin(shared: &Arc<Shared>) {
    let mut inner = shared.pulse.inner();
    if inner.task.as_ref().is_none_or(JoinHandle::is_finished) {
        inner.task = Some(tokio::spawn(beat(Arc::downgrade(shared))));
    }
}

/// While there is one that watches.
async fn beat(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        if is_idle(&shared) {
            return;
        }
        if let Err(error) = wake(&shared).await {
            tracing::debug!(%error, "changes cannot be looked for");
            // They find out by themselves.
            shared.pulse.wake_all();
            sleep(PAUSE).await;
        }
    }
}

/// Whether nobody watches any more; then the task is over.
fn is_idle(shared: &Shared) -> bool {
    let mut inner = shared.pulse.inner();
    let is_idle = inner.watchers.is_empty();
    if is_idle {
        inner.task = None;
    }
    is_idle
}

/// Wakes them until something fails or nobody watches.
async fn wake(shared: &Arc<Shared>) -> Result<()> {
    let mut seen = look(shared).await?;
    // What was changed before this looked.
    shared.pulse.wake_all();
    let mut ends = when(seen.1);
    let mut next_look = Instant::now() + LOOK;
    loop {
        let until = ends.map_or(next_look, |ends| ends.min(next_look));
        tokio::select! {
            () = shared.pulse.sooner.notified() => {
                if let Some(end) = shared.pulse.inner().ends.take() {
                    ends = Some(ends.map_or(end, |ends| ends.min(end)));
                }
            }
            () = sleep_until(until) => {}
        }
        if ends.is_some_and(|ends| ends <= Instant::now()) {
            if look(shared).await?.1.is_some_and(|left| left.is_zero()) {
                shared.writer.end().await?;
            }
            ends = when(look(shared).await?.1);
        }
        if next_look <= Instant::now() {
            if is_idle(shared) {
                return Ok(());
            }
            let now = look(shared).await?;
            if now.0 != seen.0 {
                shared.pulse.wake_all();
                ends = when(now.1);
            }
            seen = now;
            next_look = Instant::now() + LOOK;
        }
    }
}

/// What changes with every change, and the time until the next record ends.
async fn look(shared: &Shared) -> Result<(i64, Option<Duration>)> {
    let look = shared.reader.ask("to look for changes", |database| {
        Ok(Ok((data_version(database)?, next_end(database)?)))
    });
    look.await
}

fn when(left: Option<Duration>) -> Option<Instant> {
    left.and_then(|left| Instant::now().checked_add(left.max(Duration::from_millis(1))))
}
