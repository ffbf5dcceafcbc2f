//! What is done now and then: messages that were held back go to their streams, and old ones are removed.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use micro::Result;
use tokio::time::{Instant, timeout};

use crate::shared::Shared;

/// How often it is looked for messages that are due, besides those of this process.
const LOOK: Duration = Duration::from_secs(1);
/// How often old messages are removed.
const TIDY: Duration = Duration::from_secs(30);
/// How long a consumer that holds nothing may be silent before it is forgotten.
const SILENCE: Duration = Duration::from_secs(3600);
/// As many as are removed at a time.
const BATCH: u64 = 1000;

/// Begins it in this process unless it runs.
pub(crate) fn begin(shared: &Arc<Shared>) {
    let mut running = shared.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    let is_running =
        running.as_ref().is_some_and(|(of, task)| *of == process && !task.is_finished());
    if !is_running {
        *running = Some((process, tokio::spawn(keep_up(Arc::downgrade(shared)))));
    }
}

async fn keep_up(shared: Weak<Shared>) {
    let mut tidied = Instant::now();
    while let Some(shared) = shared.upgrade() {
        let pause = match move_due(&shared).await {
            Ok(pause) => pause.min(LOOK),
            Err(error) => {
                tracing::debug!(%error, "messages that are due cannot be looked for");
                LOOK
            }
        };
        if tidied.elapsed() >= TIDY {
            tidied = Instant::now();
            if let Err(error) = tidy_all(&shared).await {
                tracing::warn!(%error, "old messages cannot be removed");
            }
        }
        let _ = timeout(pause, shared.delayed.notified()).await;
    }
}

/// Moves what is due, and says how long it is until the next.
async fn move_due(shared: &Shared) -> Result<Duration> {
    loop {
        let script = shared.scripts.move_due.key(shared.delayed_key());
        let (moved, next): (u64, i64) = shared.link.run("to move what is due", &script).await?;
        match u64::try_from(next) {
            // There may be more.
            Ok(0) if moved > 0 => {}
            Ok(next) => return Ok(Duration::from_millis(next.max(1))),
            Err(_) => return Ok(LOOK),
        }
    }
}

/// Removes what need not be kept.
pub(crate) async fn tidy_all(shared: &Shared) -> Result<()> {
    for stream in shared.streams() {
        match tidy(shared, &stream).await? {
            0 => {}
            removed => tracing::debug!(stream, removed, "old messages were removed"),
        }
    }
    Ok(())
}

/// Removes what need not be kept of a stream.
async fn tidy(shared: &Shared, stream: &str) -> Result<u64> {
    let options = &shared.options;
    let mut removed = 0;
    loop {
        let mut script = shared.scripts.trim.key(stream);
        let max_age: u64 = options.max_age.as_millis().try_into().unwrap_or(u64::MAX);
        script.arg(max_age).arg(options.max_len.unwrap_or(0)).arg(SILENCE.as_millis().to_string());
        let now: u64 = shared.link.run("to remove old messages", &script).await?;
        removed += now;
        if now < BATCH || options.max_len.is_none() {
            return Ok(removed);
        }
    }
}
