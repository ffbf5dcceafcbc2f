//! `micro watch`: the registry's news, line by line.

use micro::Code;
use micro::registry::{Action, Change};

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Service to watch; all unless given.
    service: Option<String>,
}

pub(crate) async fn run(
    options: &Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let end = tokio::signal::ctrl_c();
    tokio::select! {
        outcome = follow(options, fleet, output) => outcome,
        _ = end => Ok(()),
    }
}

async fn follow(options: &Options, fleet: &Fleet, output: &mut Output) -> Result<(), Failure> {
    let service = options.service.as_deref();
    loop {
        let mut watcher = fleet.registry().watch(service).await?;
        output.message(&match service {
            Some(service) => format!("watching {service} in {}; Ctrl-C ends", fleet.place()),
            None => format!("watching {}; Ctrl-C ends", fleet.place()),
        });
        loop {
            match watcher.next().await {
                Ok(change) => show(&change, output)?,
                Err(error) if error.code() == Code::Aborted => {
                    output.message("some news was missed: watching anew");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn show(change: &Change, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return Ok(output.json(change)?);
    }
    let Change { action, service } = change;
    let tone = match action {
        Action::Create => Tone::Good,
        Action::Update => Tone::Plain,
        Action::Delete => Tone::Bad,
    };
    let named = format!("{} {}", service.name, service.version);
    if service.nodes.is_empty() {
        return Ok(output.toned(tone, &format!("{action} {named}"))?);
    }
    for node in &service.nodes {
        output.toned(tone, &format!("{action} {named} {} {}", node.id, node.address))?;
    }
    Ok(())
}
