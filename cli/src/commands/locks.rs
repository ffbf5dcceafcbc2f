//! What commands about locks and leaders have in common: where locks are kept, and a command that is run while one is held.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::sync::{self, Held, Locks};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::duration;
use crate::failure::Failure;
use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Terms {
    /// The store that keeps locks: redis://127.0.0.1:6379 …
    #[arg(long, env = "MICRO_STORE", value_name = "URL")]
    store: String,
    /// How long one that vanished keeps the others waiting.
    #[arg(long, value_parser = duration, default_value = "15s")]
    ttl: Duration,
    /// What others are told who holds it; the machine and the number of this process unless given.
    #[arg(long)]
    who: Option<String>,
}

impl Terms {
    pub(crate) fn locks(&self) -> Result<Arc<dyn Locks>, Failure> {
        Ok(sync::connect(&self.store)?)
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(crate) fn claim(&self, claim: sync::Claim) -> sync::Claim {
        let claim = claim.ttl(self.ttl);
        match &self.who {
            Some(who) => claim.who(who),
            None => claim,
        }
    }
}

/// How a command ended.
pub(crate) enum Ended {
    /// By itself, or because this process was told to end.
    Done(ExitStatus),
    /// Because the lock was lost.
    Lost,
}

/// Runs a command while something is held. It finds the token in `MICRO_LOCK_TOKEN`, and is told to end when that is lost.
pub(crate) async fn run(
    held: &Held,
    ttl: Duration,
    command: &[OsString],
    output: &mut Output,
) -> Result<Ended, Failure> {
    let [program, arguments @ ..] = command else { return Err(Failure::usage("no command")) };
    let mut child = Command::new(program)
        .args(arguments)
        .env("MICRO_LOCK_NAME", held.name())
        .env("MICRO_LOCK_TOKEN", held.token().to_string())
        .spawn()
        .map_err(|error| {
            Failure::refused(format!("cannot run {}: {error}", program.to_string_lossy()))
        })?;
    let mut stop = std::pin::pin!(stop());
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(Ended::Done(ended?)),
            () = &mut stop => {
                end(&mut child);
                stop.set(self::stop());
            }
            () = held.lost() => {
                output.message(&format!("{} is lost: the command is ended", held.name()));
                end(&mut child);
                // Another holds it soon.
                if timeout((ttl / 10).min(Duration::from_secs(1)) / 2, child.wait()).await.is_err() {
                    child.kill().await?;
                }
                return Ok(Ended::Lost);
            }
        }
    }
}

/// Returns when this process is told to end. What is typed at a terminal, its command is told as well.
#[cfg(unix)]
pub(crate) async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut hangup)] = signals else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn stop() {
    std::future::pending().await
}

/// As [`stop`], and by Ctrl-C: of one that only waits.
pub(crate) async fn stop_waiting() {
    tokio::select! {
        () = stop() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Tells a command to end.
#[cfg(unix)]
fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // It may have ended at this moment.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(not(unix))]
fn end(child: &mut Child) {
    let _ = child.start_kill();
}

/// The end of this process is that of its command.
pub(crate) fn ended(status: ExitStatus) -> Result<(), Failure> {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    // As shells have it.
    match status.code().or(signal.map(|signal| 128 + signal)) {
        Some(0) => Ok(()),
        code => Err(Failure::ended(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

/// How long ago it was.
pub(crate) fn ago(since: SystemTime) -> String {
    let millis = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    super::jobs::moment(u64::try_from(millis).unwrap_or(u64::MAX))
}
