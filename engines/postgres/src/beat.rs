//! Wakes those that watch: by what the server tells of others, and when records end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use micro::Result;
use tokio::time::{Instant, sleep, sleep_until};

use crate::link::Listener;
use crate::shared::Shared;
use crate::write::end;

/// How often it is looked for changes where the server tells of them: a notification may be lost where a pooler is between.
const LOOK: Duration = Duration::from_secs(1);
/// The same where it does not.
const POLL: Duration = Duration::from_millis(20);
/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Begins to wake them, unless that runs.
pub(crate) fn begin(shared: &Arc<Shared>) {
    let mut inner = shared.pulse.inner();
    let process = std::process::id();
    let is_running =
        inner.task.as_ref().is_some_and(|(of, task)| *of == process && !task.is_finished());
    if !is_running {
        inner.task = Some((process, tokio::spawn(beat(Arc::downgrade(shared)))));
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
            shared.pulse.inner().wake_all();
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
    shared.ready().await?;
    let mut listener = match shared.link.listens() {
        true => Some(shared.link.listen(&shared.statements.channel()).await?),
        false => None,
    };
    let look = if listener.is_some() { LOOK } else { POLL };
    let mut seen = version(shared).await?;
    // What was told before this listened.
    shared.pulse.inner().wake_all();
    let mut ends = next_end(shared).await?;
    let mut next_look = Instant::now() + look;
    loop {
        let until = ends.map_or(next_look, |ends| ends.min(next_look));
        tokio::select! {
            told = next(&mut listener) => {
                let Some(told) = told else { return Ok(()) };
                if let Some(ttl) = shared.pulse.told(&told) {
                    let end = Instant::now() + ttl;
                    ends = Some(ends.map_or(end, |ends| ends.min(end)));
                }
            }
            () = shared.pulse.sooner.notified() => {
                if let Some(end) = shared.pulse.inner().ends.take() {
                    ends = Some(ends.map_or(end, |ends| ends.min(end)));
                }
            }
            () = sleep_until(until) => {}
        }
        if ends.is_some_and(|ends| ends <= Instant::now()) {
            if shared.ended().await? {
                end(shared).await?;
            }
            ends = next_end(shared).await?;
        }
        if next_look <= Instant::now() {
            if is_idle(shared) {
                return Ok(());
            }
            let now = version(shared).await?;
            if now != seen {
                seen = now;
                shared.pulse.inner().wake_all();
                ends = next_end(shared).await?;
            }
            next_look = Instant::now() + look;
        }
    }
}

async fn next(listener: &mut Option<Listener>) -> Option<String> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}

async fn version(shared: &Shared) -> Result<i64> {
    let rows = shared.link.ask("to look for changes", &shared.statements.state, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get(1)))
}

async fn next_end(shared: &Shared) -> Result<Option<Instant>> {
    let left = shared.next_end().await?;
    // What has ended by the clock of the server and not quite by this one's.
    Ok(left.and_then(|left| Instant::now().checked_add(left.max(Duration::from_millis(1)))))
}
