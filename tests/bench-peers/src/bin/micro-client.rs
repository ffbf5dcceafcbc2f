//! Our client as the product uses it: discovery through a cache, power of two choices, deadline,
//! retry budget, metrics and trace context.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bench_peers::load::{Caller, Drained, Load, serve};
use bench_peers::runtime::Workers;
use bench_peers::stubs::Stub;
use bench_peers::wire::echo_client::EchoClient;
use bench_peers::wire::{Payload, StreamRequest};
use clap::Parser;
use micro::registry::{Labels, Memory, Node, Service};
use micro::{Client, Proto, Streaming};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
    /// Server to register as the only node of `bench`.
    #[arg(long)]
    address: SocketAddr,
    /// Registers the server as a node of this framework, which reads the compact form of headers.
    #[arg(long)]
    compact: bool,
    /// Calls through what tonic generates.
    #[arg(long)]
    stubs: bool,
    #[command(flatten)]
    load: Load,
}

#[derive(Clone)]
struct Discovering(Client);

impl Caller for Discovering {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let reply = self.0.call("bench", "Echo.Call", Proto(request)).await;
        reply.map(|Proto(reply)| reply).map_err(|error| error.to_string())
    }

    async fn stream(&self, request: StreamRequest) -> Result<Drained, String> {
        let stream = self.0.server_stream("bench", "Echo.Stream", Proto(request)).await;
        let mut stream: Streaming<Proto<Payload>> = stream.map_err(|error| error.to_string())?;
        let mut drained = Drained::default();
        while let Some(message) = stream.message().await.map_err(|error| error.to_string())? {
            drained.add(&message.0);
        }
        Ok(drained)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    Ok(arguments.workers.run(async move {
        let registry = Arc::new(Memory::preloaded([bench(arguments.address, arguments.compact)]));
        let client =
            Client::builder().registry(registry).build().map_err(|error| error.to_string())?;
        if arguments.stubs {
            let client = EchoClient::new(client.channel("bench"));
            return serve(Stub(client), arguments.load).await;
        }
        serve(Discovering(client), arguments.load).await
    })??)
}

fn bench(address: SocketAddr, compact: bool) -> Service {
    let mut metadata = Labels::from([("protocol".to_owned(), "grpc".to_owned())]);
    if compact {
        metadata.insert("micro".to_owned(), "1".to_owned());
    }
    let mut service = Service::new("bench", "latest");
    service.nodes.push(Node { id: "bench-1".to_owned(), address: address.to_string(), metadata });
    service
}
