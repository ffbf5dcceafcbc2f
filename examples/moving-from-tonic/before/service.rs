//! A greeter with a stream.

use std::pin::Pin;

use futures_util::{Stream, stream};
use greeter::greeter_server::{Greeter, GreeterServer};
use greeter::{CountRequest, HelloReply, HelloRequest, Number};
use tonic::{Request, Response, Status};

mod greeter {
    tonic::include_proto!("greeter");
}

struct Host;

#[tonic::async_trait]
impl Greeter for Host {
    type CountStream = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;

    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("no name to greet"));
        }
        Ok(Response::new(HelloReply { greeting: format!("Hello, {name}!") }))
    }

    async fn count(
        &self,
        request: Request<CountRequest>,
    ) -> Result<Response<Self::CountStream>, Status> {
        let numbers = (1..=request.into_inner().to).map(|value| Ok(Number { value }));
        Ok(Response::new(Box::pin(stream::iter(numbers))))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tonic::transport::Server::builder()
        .add_service(GreeterServer::new(Host))
        .serve(std::env::var("GREETER_ADDRESS")?.parse()?)
        .await?;
    Ok(())
}
