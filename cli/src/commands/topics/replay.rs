//! `micro topics replay`: a queue goes on elsewhere.

use micro::broker::Start;
use micro::broker::durable::Admin;

use crate::commands::start;
use crate::failure::Failure;
use crate::output::{Format, Output};

#[derive(clap::Args)]
pub(super) struct Options {
    /// The topic.
    topic: String,
    /// The queue.
    queue: String,
    /// Where it goes on: first, new, the number of a message, or a time such as 2026-11-28T12:00:00Z.
    #[arg(long, value_name = "WHERE", value_parser = start)]
    from: Start,
}

pub(super) async fn run(
    options: &Options,
    admin: &Admin,
    output: &mut Output,
) -> Result<(), Failure> {
    let Options { topic, queue, from } = options;
    admin.replay(topic, queue, *from).await?;
    let state = admin.topic(topic).await?;
    let state = state.queues.into_iter().find(|state| state.name == *queue);
    match (output.format(), state) {
        (Format::Json, state) => output.json(&state)?,
        (Format::Table, Some(state)) => {
            output.message(&format!(
                "{queue} of {topic} goes on at {}, {} behind",
                state.position, state.lag
            ));
        }
        (Format::Table, None) => output.message(&format!("{queue} of {topic} goes on")),
    }
    Ok(())
}
