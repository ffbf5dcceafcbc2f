//! The bare tonic server our server is measured against.

use std::error::Error;
use std::pin::Pin;

use bench_peers::runtime::Workers;
use bench_peers::server::{messages, ready};
use bench_peers::wire::echo_server::{Echo, EchoServer};
use bench_peers::wire::{Payload, StreamRequest};
use clap::Parser;
use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
}

struct Bare;

#[tonic::async_trait]
impl Echo for Bare {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn call(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn stream(
        &self,
        request: Request<StreamRequest>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Ok(Response::new(Box::pin(messages(request.get_ref()).map(Ok))))
    }
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
