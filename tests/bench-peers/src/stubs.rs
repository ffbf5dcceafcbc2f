//! What tonic generates, with tonic's own ends of a connection and with ours.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::{Request, Response, Status};

use crate::load::{Caller, Drained};
use crate::server::messages;
use crate::wire::echo_client::EchoClient;
use crate::wire::echo_server::Echo;
use crate::wire::{Payload, StreamRequest};

/// The compiled `bench.proto`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("bench");

/// A generated client on some channel.
#[derive(Debug, Clone)]
pub struct Stub<T>(pub EchoClient<T>);

impl<T> Caller for Stub<T>
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
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

/// The service as a user of tonic writes it.
#[derive(Debug, Clone, Copy)]
pub struct Bare;

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
