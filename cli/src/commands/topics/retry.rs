//! `micro topics retry`: dead letters are delivered again.

use micro::broker::durable::Admin;
use serde_json::json;

use super::work::{Which, all, plural};
use crate::failure::Failure;
use crate::output::{Format, Output};

#[derive(clap::Args)]
pub(super) struct Options {
    /// The topic that they came from.
    topic: String,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(
    options: &Options,
    admin: &Admin,
    output: &mut Output,
) -> Result<(), Failure> {
    let letters = options.which.of(&options.topic);
    let part = async |from| admin.retry(&letters, from).await;
    let done = all("retrying", admin, &letters.place(), part).await?;
    match output.format() {
        Format::Json => output.json(&json!({ "retried": done }))?,
        Format::Table => {
            output.message(&format!("{done} dead letter{} published again", plural(done)));
        }
    }
    Ok(())
}
