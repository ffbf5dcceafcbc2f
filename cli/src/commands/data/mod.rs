//! `micro data`: looks after a data folder, where messages of this machine are kept.

mod doctor;
mod folder;
mod lost;
mod repair;
mod serve;

use clap::Subcommand;

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Read every record of a data folder and say what is there; changes nothing, also while a process uses the folder.
    Doctor(doctor::Options),
    /// Keep what can be read of a damaged data folder, and set aside what cannot. No process may use the folder.
    Repair(repair::Options),
    /// Own a data folder in a process of its own, and serve it to others, until Ctrl-C.
    Serve(serve::Options),
}

pub(crate) async fn run(
    options: Options,
    broker: &str,
    fleet: impl FnOnce() -> Result<Fleet, Failure>,
    output: &mut Output,
) -> Result<(), Failure> {
    match options.what {
        What::Doctor(options) => doctor::run(&options, broker, output),
        What::Repair(options) => repair::run(&options, broker, output),
        What::Serve(options) => serve::run(options, broker, &fleet()?, output).await,
    }
}
