//! The bare tonic server our server is measured against.

use std::error::Error;

use bench_peers::runtime::Workers;
use bench_peers::server::ready;
use bench_peers::stubs::Bare;
use bench_peers::wire::echo_server::EchoServer;
use clap::Parser;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
}

fn main() -> Result<(), Box<dyn Error>> {
    Ok(Arguments::parse()
        .workers
        .run(async { serve().await.map_err(|error| error.to_string()) })??)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = Server::builder()
        .add_service(EchoServer::new(Bare))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    tokio::select! {
        served = serving => Ok(served?),
        stopped = ready(address) => Ok(stopped?),
    }
}
