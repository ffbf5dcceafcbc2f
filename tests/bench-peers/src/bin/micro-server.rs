//! Our server: bare, or a whole service with everything on.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bench_peers::runtime::Workers;
use bench_peers::server::{messages, ready};
use bench_peers::stubs::{Bare, DESCRIPTORS};
use bench_peers::wire::echo_server::EchoServer;
use bench_peers::wire::{Payload, StreamRequest};
use clap::Parser;
use futures_util::StreamExt;
use micro::registry::Memory;
use micro::server::{Endpoint, Server};
use micro::{Context, Proto, Service};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
    /// Run a registered service instead of a server alone.
    #[arg(long)]
    full: bool,
    /// Serve what tonic generates.
    #[arg(long, conflicts_with = "full")]
    stubs: bool,
}

fn call() -> Endpoint {
    Endpoint::unary("Echo.Call", |_: Context, request: Proto<Payload>| async move { Ok(request) })
}

fn stream() -> Endpoint {
    Endpoint::server_stream(
        "Echo.Stream",
        |_: Context, Proto(request): Proto<StreamRequest>| async move {
            Ok(messages(&request).map(|message| Ok(Proto(message))))
        },
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    Ok(arguments.workers.run(async move {
        let served = match (arguments.full, arguments.stubs) {
            (true, _) => service().await,
            (_, true) => stubs().await,
            _ => server().await,
        };
        served.map_err(|error| error.to_string())
    })??)
}

async fn server() -> Result<(), Box<dyn Error>> {
    let builder = Server::builder("bench").address("127.0.0.1:0");
    let server = builder.handle(call()).handle(stream()).start().await?;
    announce(server.address()).await
}

async fn stubs() -> Result<(), Box<dyn Error>> {
    let builder = Server::builder("bench").address("127.0.0.1:0").descriptors(DESCRIPTORS);
    let server = builder.tonic(EchoServer::new(Bare)).start().await?;
    announce(server.address()).await
}

async fn service() -> Result<(), Box<dyn Error>> {
    let service = Service::builder("bench")
        .address("127.0.0.1:0")
        .registry(Arc::new(Memory::new()))
        .handle(call())
        .handle(stream())
        .start()
        .await?;
    // Only a service that can be found counts as started.
    service.registry().get("bench").await?;
    announce(service.address()).await
}

async fn announce(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    Ok(ready(address).await?)
}
