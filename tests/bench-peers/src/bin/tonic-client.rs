//! The bare tonic client our client is measured against.

use std::error::Error;
use std::net::SocketAddr;

use bench_peers::load::{Caller, Drained, Load, serve};
use bench_peers::runtime::Workers;
use bench_peers::wire::echo_client::EchoClient;
use bench_peers::wire::{Payload, StreamRequest};
use clap::Parser;
use tonic::transport::Channel;

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

#[derive(Clone)]
struct Bare(EchoClient<Channel>);

impl Caller for Bare {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let reply = self.0.clone().call(request).await.map_err(|status| status.to_string())?;
        Ok(reply.into_inner())
    }

    async fn stream(&self, request: StreamRequest) -> Result<Drained, String> {
        let reply = self.0.clone().stream(request).await.map_err(|status| status.to_string())?;
        let mut stream = reply.into_inner();
        let mut drained = Drained::default();
        while let Some(message) = stream.message().await.map_err(|status| status.to_string())? {
            drained.add(&message);
        }
        Ok(drained)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    Ok(arguments.workers.run(async move {
        let client = EchoClient::connect(format!("http://{}", arguments.address))
            .await
            .map_err(|error| error.to_string())?;
        serve(Bare(client), arguments.load).await
    })??)
}
