//! `micro topics drop`: what nobody needs any more.

use clap::Subcommand;
use micro::broker::durable::Admin;
use serde_json::json;

use super::work::{Which, all, plural};
use crate::confirm::Confirm;
use crate::failure::Failure;
use crate::output::{Format, Output};

#[derive(clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Forget a queue; a consumer that subscribes to it begins it anew.
    Queue {
        /// The topic.
        topic: String,
        /// The queue.
        queue: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Drop dead letters.
    Dead {
        /// The topic that they came from.
        topic: String,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Drop the messages of a topic up to a number.
    Messages {
        /// The topic.
        topic: String,
        /// The number of the last message that is dropped.
        #[arg(long, value_name = "NUMBER")]
        up_to: u64,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub(super) async fn run(
    options: &Options,
    admin: &Admin,
    output: &mut Output,
) -> Result<(), Failure> {
    let (done, what) = match &options.what {
        What::Queue { topic, queue, confirm } => {
            confirm.ask(&format!("drop the queue {queue} of {topic}"), output)?;
            admin.drop_queue(topic, queue).await?;
            (1, "queue")
        }
        What::Dead { topic, which, confirm } => {
            confirm.ask(&format!("drop dead letters of {topic}"), output)?;
            let letters = which.of(topic);
            let part = async |from| admin.drop_letters(&letters, from).await;
            (all("dropping", admin, &letters.place(), part).await?, "dead letter")
        }
        What::Messages { topic, up_to, confirm } => {
            confirm.ask(&format!("drop the messages of {topic} up to {up_to}"), output)?;
            (admin.drop_messages(topic, *up_to).await?, "message")
        }
    };
    match output.format() {
        Format::Json => output.json(&json!({ "dropped": done }))?,
        Format::Table => output.message(&format!("{done} {what}{} dropped", plural(done))),
    }
    Ok(())
}
