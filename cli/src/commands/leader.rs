//! `micro leader`: runs a command on one node of a fleet, and shows which.

use std::ffi::OsString;
use std::time::UNIX_EPOCH;

use micro::sync::Leader;
use serde_json::json;

use super::locks;
use crate::failure::Failure;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run a command while this node leads; stand again when that is lost, until the command ends by itself.
    Run {
        /// Name of the election.
        name: String,
        #[command(flatten)]
        locks: locks::Terms,
        /// What the leader says of itself, for example its address.
        #[arg(long, default_value = "")]
        note: String,
        /// What the leader runs; its exit code is that of this command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show who leads.
    Show {
        /// Name of the election.
        name: String,
        #[command(flatten)]
        locks: locks::Terms,
        /// Go on to print who leads as that changes, until Ctrl-C.
        #[arg(long)]
        watch: bool,
    },
}

pub(crate) async fn run(options: &Options, output: &mut Output) -> Result<(), Failure> {
    match &options.action {
        Action::Run { name, locks: options, note, command } => {
            let locks = options.locks()?;
            loop {
                let claim = options.claim(locks.elect(name)).note(note);
                let Some(held) = claim.unless(locks::stop_waiting()).await? else {
                    return Err(Failure::ended(130));
                };
                output.message(&format!("{} leads {name}", held.who()));
                match locks::run(&held, options.ttl(), command, output).await? {
                    locks::Ended::Lost => {}
                    locks::Ended::Done(status) => {
                        held.unlock().await?;
                        return locks::ended(status);
                    }
                }
            }
        }
        Action::Show { name, locks: options, watch } => {
            let locks = options.locks()?;
            if *watch {
                let mut leaders = locks.leaders(name)?;
                let follow = async {
                    loop {
                        line(leaders.next().await?, name, output)?;
                    }
                };
                return tokio::select! {
                    ended = follow => ended,
                    _ = tokio::signal::ctrl_c() => Ok(()),
                };
            }
            match locks.leader(name).await? {
                Some(leader) => show(leader, output),
                None => Err(Failure::refused(format!(
                    "nobody leads {name}: `micro leader run {name} -- COMMAND` does"
                ))),
            }
        }
    }
}

fn show(leader: Leader, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return Ok(output.json(&told(&leader))?);
    }
    let row = [
        (leader.who, Tone::Good),
        (locks::ago(leader.since), Tone::Plain),
        (leader.token.to_string(), Tone::Plain),
        (leader.note, Tone::Plain),
    ];
    Ok(output.table(["LEADER", "SINCE", "TOKEN", "NOTE"], [row])?)
}

fn line(leader: Option<Leader>, name: &str, output: &mut Output) -> Result<(), Failure> {
    match (output.format(), leader) {
        (Format::Json, leader) => output.json(&leader.as_ref().map(told))?,
        (Format::Table, Some(leader)) => {
            output.toned(Tone::Good, &format!("{} leads {name}", leader.who))?;
        }
        (Format::Table, None) => output.toned(Tone::Bad, &format!("nobody leads {name}"))?,
    }
    Ok(())
}

fn told(leader: &Leader) -> serde_json::Value {
    let since = leader.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    json!({ "who": leader.who, "note": leader.note, "token": leader.token, "since_ms": since })
}
