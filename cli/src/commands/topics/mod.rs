//! `micro topics`: looks into a durable broker, and puts right what went wrong.

mod drop;
mod list;
mod replay;
mod retry;
mod show;
mod work;

use clap::Subcommand;
use micro::broker::durable::Admin;

use crate::failure::Failure;
use crate::output::Output;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List topics, how far their queues are behind, and how many dead letters they have.
    List,
    /// Show all that is known of a topic, and why its dead letters are dead.
    Show(show::Options),
    /// Have a queue go on from another message.
    Replay(replay::Options),
    /// Deliver dead letters again, each to the queue that gave it up.
    Retry(retry::Options),
    /// Drop a queue, dead letters, or messages.
    Drop(drop::Options),
}

pub(crate) async fn run(
    options: Options,
    admin: &Admin,
    output: &mut Output,
) -> Result<(), Failure> {
    match options.what {
        None | Some(What::List) => list::run(admin, output).await,
        Some(What::Show(options)) => show::run(&options, admin, output).await,
        Some(What::Replay(options)) => replay::run(&options, admin, output).await,
        Some(What::Retry(options)) => retry::run(&options, admin, output).await,
        Some(What::Drop(options)) => drop::run(&options, admin, output).await,
    }
}
