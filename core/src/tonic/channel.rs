//! What a client that tonic generates calls through.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tonic::Status;
use ::tonic::body::Body as TonicBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::reply::{Failure, ReplyBody};
use super::status::of_call;
use crate::client::framed::FramedCall;
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::selector::Filter;
use crate::server::BoxFuture;

impl Client {
    /// What a client that tonic generates is made of, to call `service` through this client. Feature `tonic`.
    ///
    /// ```text
    /// let mut greeter = GreeterClient::new(client.channel("greeter"));
    /// let reply = greeter.say_hello(HelloRequest { name: "Ada".into() }).await?;
    /// ```
    pub fn channel(&self, service: &str) -> Channel {
        Channel { client: self.clone(), service: service.into(), options: Arc::default() }
    }
}

/// A way to a service for the clients that tonic generates, in place of `tonic::transport::Channel`. Cheap to clone.
///
/// Nothing is connected before the first call. Each call finds a node, and is tried again on another one, as other calls of the
/// [`Client`] are; a request that is a stream is not, once it is on its way. Layers of the client see its calls. Metadata, trace and deadline of a call that is being
/// served go on.
///
/// tonic does not say which calls are streams, so none has a timeout unless the channel, or the request by
/// `tonic::Request::set_timeout`, has one. That of the request comes first, and a shorter one of the call being served wins.
///
/// A call that fails says so by a `tonic::Status`, also where there was no answer; its source is the [`Error`](crate::Error).
/// Options of one call are given by the extensions of its request:
///
/// ```
/// # use micro::client::CallOptions;
/// # let mut request = ::tonic::Request::new(());
/// request.extensions_mut().insert(CallOptions::new().key("user-7").idempotent(true));
/// ```
#[derive(Clone)]
pub struct Channel {
    client: Client,
    service: Arc<str>,
    options: Arc<CallOptions>,
}

impl Channel {
    fn with(mut self, set: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        let options = Arc::unwrap_or_clone(self.options);
        self.options = Arc::new(set(options));
        self
    }

    /// Lays options on top of those the channel has: see [`CallOptions`]. A content type, compression and the size of messages
    /// are for the generated client to say.
    #[must_use]
    pub fn options(self, options: impl Into<CallOptions>) -> Self {
        self.with(|own| own.options(options))
    }

    /// Time for each call, retries included, and for a stream to its end. None unless set.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.timeout(timeout))
    }

    /// Calls this address (`host:port`, `https://host`) instead of asking the registry; given several times, attempts rotate over them.
    #[must_use]
    pub fn address(self, address: impl Into<String>) -> Self {
        self.with(|options| options.address(address))
    }

    /// Calls only nodes that meet this condition; several must all be met.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        self.with(|options| options.filter(filter))
    }

    /// Says whether repeating a call is harmless, whatever the endpoint says.
    #[must_use]
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|options| options.idempotent(idempotent))
    }

    fn begin(&self, parts: http::request::Parts) -> Result<FramedCall> {
        let mut options = CallOptions::clone(&self.options);
        if let Some(own) = parts.extensions.get::<CallOptions>() {
            options = options.options(own.clone());
        }
        self.client.framed(&self.service, parts.uri.path(), parts.headers, options)
    }
}

impl Service<Request<TonicBody>> for Channel {
    type Response = Response<ReplyBody>;
    type Error = Status;
    type Future = BoxFuture<Result<Response<ReplyBody>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<TonicBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let call = self.begin(parts);
        Box::pin(async move {
            let call = call.map_err(of_call)?;
            let (answered, failure) = match Requests::begin(body).await? {
                Begun::Whole(request) => (call.send(request).await, None),
                Begun::Open(requests) => {
                    let failure = requests.failure.clone();
                    // Apart from calls with one message, whose state it would make larger.
                    (Box::pin(call.open(requests.into_source())).await, Some(failure))
                }
            };
            let (headers, reply) = answered.map_err(|error| {
                failure.as_ref().and_then(Failure::take).unwrap_or_else(|| of_call(error))
            })?;
            let mut response = Response::new(ReplyBody::new(reply, failure));
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("service", &self.service)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A request whose first bytes were looked at.
enum Begun {
    /// All of it was there.
    Whole(Bytes),
    Open(Requests),
}

/// A request that comes piece by piece.
struct Requests {
    ahead: [Option<Bytes>; 2],
    body: TonicBody,
    failure: Failure,
}

impl Requests {
    /// Looks at what there is of a request, without waiting: a generated client has all of one message at once.
    ///
    /// # Errors
    /// What keeps the client from writing its message.
    async fn begin(mut body: TonicBody) -> Result<Begun, Status> {
        let mut ahead = [None, None];
        for place in 0..2 {
            let polled = poll_fn(|cx| {
                Poll::Ready(match poll_data(&mut body, cx) {
                    Poll::Ready(data) => Some(data),
                    Poll::Pending => None,
                })
            });
            match polled.await {
                Some(None) => return Ok(Begun::Whole(ahead[0].take().unwrap_or_default())),
                Some(Some(data)) => ahead[place] = Some(data?),
                None => break,
            }
        }
        Ok(Begun::Open(Self { ahead, body, failure: Failure::default() }))
    }

    /// The pieces, one by one. What goes wrong is kept for the answer.
    fn into_source(
        mut self,
    ) -> impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> + Send + 'static
    {
        move |cx| {
            if let Some(ahead) = self.ahead.iter_mut().find_map(Option::take) {
                return Poll::Ready(Some(Ok(ahead)));
            }
            Poll::Ready(ready!(poll_data(&mut self.body, cx)).map(|data| {
                data.map_err(|status| {
                    self.failure.put(status);
                    h2::Reason::CANCEL.into()
                })
            }))
        }
    }
}

fn poll_data(body: &mut TonicBody, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(status)) => return Poll::Ready(Some(Err(status))),
            // A request has no trailers.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}
