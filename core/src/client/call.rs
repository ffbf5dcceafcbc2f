//! Calls being put together: what to call, with what, on which terms.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::stream::poll_fn;
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryFutureExt as _};
use http::header::HeaderValue;
use tokio_util::task::AbortOnDropHandle;

use super::options::{CallOptions, Inherit, call_options};
use super::pipeline::{OpenStream, Received, Run, ServerStream, Unary};
use super::seen::Seen;
use super::stream::{Outgoing, StreamReply};
use super::{Client, Target};
use crate::codec::{Codec, Message, Side, read_reply};
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::metadata::Metadata;
use crate::server::BoxFuture;
use crate::streaming::{Messages, Streaming};
use crate::transport::{Compression, begin_frame, end_frame, frame};

/// A reply with the metadata around it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The message.
    pub message: T,
    /// Whether the message came compressed.
    pub compressed: bool,
    /// Headers the handler set.
    pub headers: Metadata,
    /// Trailers the handler set.
    pub trailers: Metadata,
}

/// A unary call. Await it for the message, or [`Call::send`] it for the whole [`Reply`].
#[derive(Debug)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<Req, Res> {
    client: Client,
    target: Option<Arc<Target>>,
    request: Req,
    options: CallOptions,
    wrong: Option<Error>,
    kind: PhantomData<fn() -> Res>,
}

/// Terms that only a single call has.
macro_rules! single_call_options {
    () => {
        /// Calls with equal keys go to the same node while the fleet stays the same.
        pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
            self.options.key(key.into());
            self
        }

        /// Says whether repeating this call is harmless, whatever the endpoint says.
        pub fn idempotent(mut self, idempotent: bool) -> Self {
            self.options.idempotent = Some(idempotent);
            self
        }

        /// Makes the call part of this inbound one: its deadline, trace and metadata go on. Needed
        /// only on tasks the handler started; inside a handler it is so without being said.
        pub fn context(mut self, context: &Context) -> Self {
            self.options.context = Inherit::This(context.clone());
            self
        }

        /// Tells what the answer says around its messages, also when the call fails.
        pub fn seen(mut self, seen: &Seen) -> Self {
            self.options.seen = Some(seen.clone());
            self
        }

        /// Makes the call part of nothing, even inside a handler.
        pub fn detached(mut self) -> Self {
            self.options.detach();
            self
        }
    };
}

impl<Req: Message, Res: Message> Call<Req, Res> {
    call_options!();
    single_call_options!();

    pub(super) fn new(client: Client, service: &str, endpoint: &str, request: Req) -> Self {
        let (target, wrong) = split(client.target(service, endpoint));
        // The client's own metadata is added by the pipeline.
        let options = CallOptions { metadata: Metadata::new(), ..client.0.options.clone() };
        Self { client, target, request, options, wrong, kind: PhantomData }
    }

    /// Says that the addresses are those of `service`, as the registry has them.
    pub(super) fn found_for(mut self, service: &str) -> Self {
        self.options.found_for = HeaderValue::from_str(service).ok();
        self
    }

    /// For bindings that queue replies: one counts among those that the client holds until its bytes are released.
    #[doc(hidden)]
    pub fn counted(mut self) -> Self {
        self.options.counted = true;
        self
    }

    /// Makes the call. Its time runs from here; nothing is sent before the future is awaited.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn send(self) -> impl Future<Output = Result<Reply<Res>>> + Send {
        let Self { client, target, request, options, wrong, .. } = self;
        // Not in the future, which would hold all of it twice.
        let run = ready(target, wrong).map(|target| {
            let codec = options.codec.unwrap_or_else(Req::preferred);
            Box::new(Run::new(client, target, options, codec, true))
        });
        async move {
            let mut run = run?;
            let message = encode(request, run.codec, run.options.compression)
                .map_err(|error| run.fail(error))?;
            let (received, _lease) = run.bounded(Unary(message)).await?;
            let message =
                read_reply(run.codec, received.message).map_err(|error| run.fail(error))?;
            run.succeed();
            let Received { compressed, headers, trailers, .. } = received;
            Ok(Reply { message, compressed, headers, trailers })
        }
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<Req, Res> {
    type Output = Result<Res>;
    type IntoFuture = BoxFuture<Result<Res>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send().map_ok(|reply| reply.message))
    }
}

fn split(target: Result<Arc<Target>>) -> (Option<Arc<Target>>, Option<Error>) {
    match target {
        Ok(target) => (Some(target), None),
        Err(error) => (None, Some(error)),
    }
}

fn ready(target: Option<Arc<Target>>, wrong: Option<Error>) -> Result<Arc<Target>> {
    match (target, wrong) {
        (_, Some(error)) => Err(error),
        (Some(target), None) => Ok(target),
        (None, None) => Err(Error::internal("a call without a target")),
    }
}

/// The message behind its prefix, in one buffer where it need not be compressed.
fn encode<T: Message>(message: T, codec: Codec, compression: Option<Compression>) -> Result<Bytes> {
    if compression.is_some() {
        return frame(&message.into_bytes(codec, Side::Client)?, compression);
    }
    let mut buffer = BytesMut::with_capacity(256);
    let start = begin_frame(&mut buffer);
    message.encode(codec, Side::Client, &mut buffer)?;
    end_frame(&mut buffer, start, None)?;
    Ok(buffer.freeze())
}

/// A streaming call. Await it to open the stream. It has no timeout unless one is set, but keeps
/// the deadline of the call being served.
#[derive(Debug)]
#[must_use = "a stream is opened when it is awaited"]
pub struct StreamCall<In, Out> {
    client: Client,
    target: Option<Arc<Target>>,
    requests: In,
    options: CallOptions,
    wrong: Option<Error>,
    kind: PhantomData<fn() -> Out>,
}

/// One request message.
#[derive(Debug)]
pub struct One<Req>(pub(super) Req);

/// Request messages from a stream.
#[derive(Debug)]
pub struct Many<S>(pub(super) S);

/// Request messages sent through an [`Outgoing`].
#[derive(Debug)]
pub struct Open<Req>(PhantomData<fn(Req)>);

impl<Req> Default for Open<Req> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Exactly one reply message.
#[derive(Debug)]
pub struct Single<Res>(PhantomData<fn() -> Res>);

/// Both halves of an open stream.
pub type Duplex<Req, Res> = (Outgoing<Req>, Streaming<Res>);

impl<In, Out> StreamCall<In, Out> {
    call_options!();
    single_call_options!();

    pub(super) fn new(client: Client, service: &str, endpoint: &str, requests: In) -> Self {
        let (target, wrong) = split(client.target(service, endpoint));
        let options =
            CallOptions { metadata: Metadata::new(), timeout: None, ..client.0.options.clone() };
        Self { client, target, requests, options, wrong, kind: PhantomData }
    }

    fn run(self, codec: Codec) -> Result<(Run, In)> {
        let target = ready(self.target, self.wrong)?;
        Ok((Run::new(self.client, target, self.options, codec, false), self.requests))
    }
}

/// Opens a stream of requests that are sent through the returned half.
async fn open<Req: Message>(mut run: Run) -> Result<(Outgoing<Req>, Messages)> {
    let opened = run.bounded(OpenStream).await?;
    let (outgoing, requests) = Outgoing::new(run.codec, run.options.compression);
    Ok((outgoing, StreamReply::opening(run, opened, requests).into_messages()))
}

/// The replies, with the requests sent on a task of their own. It ends with the replies; what keeps
/// a request from being sent ends the replies in turn.
fn drive<S, Req>(requests: S, outgoing: Outgoing<Req>, mut replies: Messages) -> Messages
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
{
    let sending = tokio::spawn(async move {
        let mut requests = pin!(requests);
        while let Some(request) = requests.next().await {
            match outgoing.send(request).await {
                Ok(()) => {}
                // The replies end with the reason.
                Err(error) if error.code() == Code::Cancelled => return None,
                Err(error) => return Some(error),
            }
        }
        None
    });
    let mut sending = Some(AbortOnDropHandle::new(sending));
    let envelope = replies.envelope().cloned();
    let driven = Messages::new(poll_fn(move |cx| {
        if let Some(task) = &mut sending
            && let Poll::Ready(ended) = task.poll_unpin(cx)
        {
            sending = None;
            match ended {
                Ok(None) => {}
                Ok(Some(error)) => return Poll::Ready(Some(Err(error))),
                Err(broken) => {
                    let error = Error::internal(format!("the stream of requests failed: {broken}"));
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        replies.poll_next_unpin(cx)
    }));
    driven.within(envelope)
}

impl<Req: Message, Res: Message> IntoFuture for StreamCall<One<Req>, Streaming<Res>> {
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let codec = self.options.codec.unwrap_or_else(Req::preferred);
            let compression = self.options.compression;
            let (mut run, One(request)) = self.run(codec)?;
            let message = encode(request, codec, compression)?;
            let (answer, lease) = run.bounded(ServerStream(message)).await?;
            let replies = StreamReply::reading(run, answer, lease).into_messages();
            Ok(Streaming::replies(replies, codec))
        })
    }
}

impl<S, Req, Res> StreamCall<Many<S>, Single<Res>>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
    Res: Message,
{
    /// Sends the messages and waits for the answer, with the metadata around it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Reply<Res>> {
        let codec = self.options.codec.unwrap_or_else(Req::preferred);
        let (run, Many(requests)) = self.run(codec)?;
        let (outgoing, replies) = open(run).await?;
        let mut replies = drive(requests, outgoing, replies);
        let one = || Error::unimplemented("expected exactly one reply: is the endpoint a stream?");
        let message = replies.message().await?.ok_or_else(one)?;
        let compressed = replies.compressed();
        if replies.message().await?.is_some() {
            return Err(one());
        }
        let message = read_reply(codec, message)?;
        let headers = replies.headers().await.cloned().unwrap_or_default();
        let trailers = replies.trailers().cloned().unwrap_or_default();
        Ok(Reply { message, compressed, headers, trailers })
    }
}

impl<S, Req, Res> IntoFuture for StreamCall<Many<S>, Single<Res>>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
    Res: Message,
{
    type Output = Result<Res>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send().map_ok(|reply| reply.message))
    }
}

impl<S, Req, Res> IntoFuture for StreamCall<Many<S>, Streaming<Res>>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
    Res: Message,
{
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let codec = self.options.codec.unwrap_or_else(Req::preferred);
            let (run, Many(requests)) = self.run(codec)?;
            let (outgoing, replies) = open(run).await?;
            Ok(Streaming::replies(drive(requests, outgoing, replies), codec))
        })
    }
}

impl<Req: Message, Res: Message> IntoFuture for StreamCall<Open<Req>, Duplex<Req, Res>> {
    type Output = Result<Duplex<Req, Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let codec = self.options.codec.unwrap_or_else(Req::preferred);
            let (run, _) = self.run(codec)?;
            let (outgoing, replies) = open(run).await?;
            Ok((outgoing, Streaming::replies(replies, codec)))
        })
    }
}
