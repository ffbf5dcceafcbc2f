//! The bare tonic client our client is measured against.

use std::error::Error;
use std::net::SocketAddr;

use bench_peers::load::{Load, serve};
use bench_peers::runtime::Workers;
use bench_peers::stubs::Stub;
use bench_peers::wire::echo_client::EchoClient;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
    /// Server to call.
    #[arg(long)]
    address: SocketAddr,
    #[command(flatten)]
    load: Load,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    Ok(arguments.workers.run(async move {
        let client = EchoClient::connect(format!("http://{}", arguments.address))
            .await
            .map_err(|error| error.to_string())?;
        serve(Stub(client), arguments.load).await
    })??)
}
