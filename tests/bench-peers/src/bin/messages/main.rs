//! Messages: who owns a data folder, who publishes and takes by our client, and who does so by the bare client of a server.

mod bare;
mod ours;
mod owner;
mod posted;
mod text;
mod watch;

use std::error::Error;
use std::path::PathBuf;

use bench_peers::load::{Load, serve};
use bench_peers::runtime::Workers;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Owns the data folder of a URL, until its input ends.
    Own {
        #[arg(long)]
        url: String,
    },
    /// Publishes by our client, or takes what is there, to or from the broker of a URL.
    Micro(ours::Arguments),
    /// Takes messages by our client, and says how long they were on their way.
    Watch {
        #[arg(long)]
        url: String,
    },
    /// Publishes by our client to the broker of go-micro, and to subscribers of its own.
    Posted {
        #[command(flatten)]
        load: Load,
    },
    /// Publishes by async-nats to a stream of JetStream, which stores it in files.
    Jetstream(bare::Arguments),
    /// Publishes by async-nats, to whoever is there.
    Nats(bare::Arguments),
    /// Appends to a stream by the crate redis.
    Redis(bare::Arguments),
    /// Writes and syncs one message after the other, to a file in a folder.
    Disk {
        #[arg(long)]
        folder: PathBuf,
        #[command(flatten)]
        load: Load,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { workers, role } = Arguments::parse();
    Ok(workers.run(async move {
        match role {
            Role::Own { url } => owner::own(&url).await,
            Role::Watch { url } => watch::watch(&url).await,
            Role::Micro(arguments) => {
                let client = ours::Ours::new(&arguments)?;
                serve(client, arguments.load).await
            }
            Role::Posted { load } => {
                serve(posted::Posted::new(load.concurrency()).await?, load).await
            }
            Role::Jetstream(arguments) => {
                serve(bare::JetStream::new(&arguments).await?, arguments.load).await
            }
            Role::Nats(arguments) => {
                serve(bare::Nats::new(&arguments).await?, arguments.load).await
            }
            Role::Redis(arguments) => {
                serve(bare::Redis::new(&arguments).await?, arguments.load).await
            }
            Role::Disk { folder, load } => serve(bare::Disk::new(&folder)?, load).await,
        }
    })??)
}
