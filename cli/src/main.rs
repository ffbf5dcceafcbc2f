//! The `micro` command: looks at a fleet and calls it, from a terminal or a script.
//!
//! Results go to stdout, everything else to stderr. The exit code is 0 when all went well, 1 when
//! the fleet said no, 2 when the command line made no sense.

mod commands;
#[cfg(unix)]
mod confirm;
mod failure;
mod fleet;
mod json;
mod output;
#[cfg(unix)]
mod progress;
mod reflection;
mod spelling;
mod tls;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    call, completions, config, describe, explain, health, jobs, leader, lock, publish, services,
    subscribe, watch,
};
#[cfg(unix)]
use commands::{data, topics};
use failure::Failure;
use fleet::Fleet;
use output::{Format, Output};

/// Look at running services and call them.
#[derive(Parser)]
#[command(name = "micro", version, arg_required_else_help = true)]
struct Arguments {
    /// Where services are found: auto, mdns://lo, local:///folder …
    #[arg(long, global = true, env = "MICRO_REGISTRY", value_name = "URL", default_value = "auto")]
    registry: String,
    /// Where messages are published and subscribed: http://, durable:///var/lib/shop …
    #[arg(
        long,
        global = true,
        env = "MICRO_BROKER",
        value_name = "URL",
        default_value = "http://"
    )]
    broker: String,
    /// How results are printed.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    tls: tls::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the services that are running.
    Services,
    /// Show the nodes and endpoints of a service.
    Describe(describe::Options),
    /// Call an endpoint with JSON.
    Call(call::Options),
    /// Ask every node of a service whether it is serving; fails if one is not.
    Health(health::Options),
    /// Print services and nodes as they come and go, until Ctrl-C.
    Watch(watch::Options),
    /// Publish a message to a topic.
    Publish(publish::Options),
    /// Print messages of a topic as they come, until Ctrl-C.
    Subscribe(subscribe::Options),
    /// List topics of a durable broker, show what is behind or dead, and put it right.
    #[cfg(unix)]
    Topics(topics::Options),
    /// Show when the jobs of a service run, and what became of their last runs.
    Jobs(jobs::Options),
    /// Run a command while a lock is held that the fleet shares.
    Lock(lock::Options),
    /// Run a command on one node of a fleet only, and show which.
    Leader(leader::Options),
    /// Look after a data folder, where messages of this machine are kept.
    #[cfg(unix)]
    Data(data::Options),
    /// Show values of a program's configuration, and where they come from.
    Config(config::Options),
    /// Say which setting of a service comes from where.
    Explain(explain::Options),
    /// Print a script that has a shell complete this command.
    Completions(completions::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = Output::new(arguments.output);
    log();
    match run(arguments, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

/// Warnings of the core are shown: they say, for example, why a service is not found.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::allows_colour(&std::io::stderr()))
        .without_time()
        .with_target(false)
        .init();
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: Arguments, output: &mut Output) -> Result<(), Failure> {
    micro_etcd::provide()?;
    micro_nats::provide()?;
    micro_postgres::provide()?;
    micro_redis::provide()?;
    micro_sqlite::provide()?;
    // What needs no fleet.
    let command = match arguments.command {
        Command::Explain(options) => return explain::run(options, output),
        Command::Config(options) => return config::run(options, output).await,
        Command::Completions(options) => return completions::run::<Arguments>(&options),
        Command::Lock(options) => return lock::run(&options, output).await,
        Command::Leader(options) => return leader::run(&options, output).await,
        #[cfg(unix)]
        Command::Data(options) => {
            let fleet = || Ok(Fleet::connect(&arguments.registry, arguments.tls.client()?)?);
            return data::run(options, &arguments.broker, fleet, output).await;
        }
        command => command,
    };
    let fleet = Fleet::connect(&arguments.registry, arguments.tls.client()?)?;
    match command {
        Command::Services => services::run(&fleet, output).await,
        Command::Describe(options) => describe::run(&options, &fleet, output).await,
        Command::Call(options) => call::run(options, &fleet, output).await,
        Command::Health(options) => health::run(&options, &fleet, output).await,
        Command::Watch(options) => watch::run(&options, &fleet, output).await,
        Command::Publish(options) => {
            publish::run(options, &fleet.broker(&arguments.broker)?, output).await
        }
        Command::Subscribe(options) => {
            subscribe::run(&options, &fleet.broker(&arguments.broker)?, output).await
        }
        #[cfg(unix)]
        Command::Topics(options) => {
            topics::run(options, &fleet.durable(&arguments.broker)?.admin(), output).await
        }
        Command::Jobs(options) => jobs::run(&options, &fleet, output).await,
        Command::Explain(_)
        | Command::Config(_)
        | Command::Completions(_)
        | Command::Lock(_)
        | Command::Leader(_) => Ok(()),
        #[cfg(unix)]
        Command::Data(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
