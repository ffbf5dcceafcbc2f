//! `micro lock`: runs a command while a lock is held.

use std::ffi::OsString;
use std::time::Duration;

use super::{duration, locks};
use crate::failure::Failure;
use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the lock.
    name: String,
    #[command(flatten)]
    locks: locks::Terms,
    /// Longest wait for others; without end unless given.
    #[arg(long, value_parser = duration)]
    wait: Option<Duration>,
    /// Fail at once when another holds it.
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// What is run while it is held; its exit code is that of this command.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(options: &Options, output: &mut Output) -> Result<(), Failure> {
    let locks = options.locks.locks()?;
    let claim = options.locks.claim(locks.lock(&options.name));
    let claim = match (options.no_wait, options.wait) {
        (true, _) => claim.wait(Duration::ZERO),
        (false, Some(wait)) => claim.wait(wait),
        (false, None) => claim,
    };
    let Some(held) = claim.unless(locks::stop_waiting()).await? else {
        return Err(Failure::ended(130));
    };
    match locks::run(&held, options.locks.ttl(), &options.command, output).await? {
        locks::Ended::Done(status) => {
            held.unlock().await?;
            locks::ended(status)
        }
        locks::Ended::Lost => Err(Failure::refused(format!(
            "{} could not be renewed within {:?}, and the command was ended: another may hold it now",
            options.name,
            options.locks.ttl()
        ))),
    }
}
