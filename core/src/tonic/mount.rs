//! What tonic generates of a service, as a handler of ours.

use std::future::poll_fn;
use std::sync::Arc;

use ::tonic::server::NamedService;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request as HttpRequest, Response as HttpResponse, Version};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::answer::answer;
use super::requests::Requests;
use super::status::{BoxError, to_error};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::server::mount::Lesson;
use crate::server::{Handler, Request, Response, ServerBuilder};
use crate::service::ServiceBuilder;
use crate::transport::GRPC_ENCODING;

impl ServiceBuilder {
    /// Serves what tonic generates of a service, such as `GreeterServer::new(greeter)`, also with its interceptors or other
    /// tower layers around it. See [`ServerBuilder::tonic`].
    pub fn tonic<S, B>(self, service: S) -> Self
    where
        S: Service<HttpRequest<::tonic::body::Body>, Response = HttpResponse<B>>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.server(|server| server.tonic(service))
    }
}

impl ServerBuilder {
    /// Serves what tonic generates of a service, such as `GreeterServer::new(greeter)`, also with its interceptors or other
    /// tower layers around it. It may stand beside other services, and beside endpoints.
    ///
    /// Calls of it are let in, bounded, counted and drained as those of endpoints are, and pass the same layers. Handlers find
    /// the [`Context`](crate::Context) among the extensions of their request; calls they make belong to it.
    ///
    /// tonic's type says the name of the service and not those of its methods. Where [`ServerBuilder::descriptors`] has them,
    /// they are endpoints like any others. Elsewhere the registry is told `Greeter.*`, reflection knows the service by its
    /// name alone, every method is taken for a stream, which the limiter of calls leaves alone, and a caller has to end
    /// its request before a unary method answers, as go-micro's do not.
    ///
    /// [`ServerBuilder::start`] refuses a service that is mounted twice, and those of health checks and reflection, which
    /// every server has.
    pub fn tonic<S, B>(mut self, service: S) -> Self
    where
        S: Service<HttpRequest<::tonic::body::Body>, Response = HttpResponse<B>>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let handler = move |method: &str, lesson: Option<Lesson>| {
            let path = PathAndQuery::try_from(format!("/{}/{method}", S::NAME));
            let (path, service, lesson) = (path.ok(), service.clone(), lesson.map(Arc::new));
            Handler::new(move |request| {
                serve(service.clone(), path.clone(), lesson.clone(), request)
            })
        };
        self.mounted.add(S::NAME, Box::new(handler));
        self
    }
}

/// Answers one call.
async fn serve<S, B>(
    mut service: S,
    path: Option<PathAndQuery>,
    lesson: Option<Arc<Lesson>>,
    request: Request,
) -> Result<Response>
where
    S: Service<HttpRequest<::tonic::body::Body>, Response = HttpResponse<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Request { context, shape, codec, body, .. } = request;
    let unknown = || Error::unimplemented(format!("unknown service {}", context.endpoint()));
    let path = path.ok_or_else(unknown)?;
    if codec != Codec::Proto {
        return Err(Error::unimplemented(format!(
            "{} takes protobuf, not {codec}: send application/grpc, or give the service its `descriptors` for JSON",
            context.endpoint()
        )));
    }
    let mut call = HttpRequest::new(::tonic::body::Body::new(Requests::new(body)));
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    *call.uri_mut() = path.into();
    *call.headers_mut() = context.metadata().headers().clone();
    // Messages are unpacked.
    call.headers_mut().remove(GRPC_ENCODING);
    call.extensions_mut().insert(context.clone());
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(|error| to_error(error.into()))?;
    let response = service.call(call).await.map_err(|error| to_error(error.into()))?;
    match answer(response, shape, &context).await? {
        Some(response) => {
            if let Some(lesson) = lesson {
                lesson.learn();
            }
            Ok(response)
        }
        None => Err(unknown()),
    }
}
