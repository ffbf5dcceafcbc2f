//! How each kind of call is made once it is put together.

use std::future::IntoFuture;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryFutureExt as _};

use super::call::{Call, Duplex, Many, One, Open, Reply, Single};
use super::layered::Layered;
use super::layers::Response;
use super::options::CallOptions;
use super::pipeline::{OpenStream, Received, Run, ServerStream, Unary};
use super::stream::{Outgoing, StreamReply, drive};
use super::target::Target;
use crate::codec::{Codec, Message, Side, read_reply};
use crate::error::{Error, Result};
use crate::middleware::BoxFuture;
use crate::server::Body;
use crate::shape::Shape;
use crate::streaming::{Messages, Streaming};
use crate::transport::{Compression, begin_frame, end_frame, frame};

/// A call that begins: at once, or through layers.
enum Begun {
    Direct(Box<Run>),
    Layered(Box<Layered>),
}

impl<In, Out> Call<In, Out> {
    /// True when there are layers around the call.
    fn is_layered(&self) -> bool {
        self.client.0.calls.is_some()
            || self.layers.is_some()
            || self.options.cached.is_some()
            || self.client.0.options.cached.is_some()
    }

    /// Begins a call without layers, whose messages are in the codec `preferred` unless another is chosen.
    fn begin(self, preferred: Codec, shape: Shape) -> Result<(Run, In)> {
        let Self { client, target, requests, mut options, .. } = self;
        let target = checked(target, &mut options)?;
        Ok((Run::new(client, target, options, preferred, shape), requests))
    }

    /// The same with layers.
    fn layered(self, preferred: Codec, shape: Shape) -> Result<(Layered, In)> {
        let Self { client, target, requests, mut options, layers, .. } = self;
        let target = checked(target, &mut options)?;
        Ok((Layered::new(client, target, options, layers, preferred, shape), requests))
    }
}

impl<Req: Message, Res: Message> Call<One<Req>, Single<Res>> {
    /// Makes the call. Its time runs from here; nothing is sent before the future is awaited.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub fn send(self) -> impl Future<Output = Result<Reply<Res>>> + Send {
        let layered = self.is_layered();
        let Self { client, target, requests: One(request), mut options, layers, .. } = self;
        // Not in the future, which would hold all of it twice.
        let begun = checked(target, &mut options).map(|target| {
            let (codec, shape) = (Req::preferred(), Shape::Unary);
            match layered {
                false => Begun::Direct(Box::new(Run::new(client, target, options, codec, shape))),
                true => Begun::Layered(Box::new(Layered::new(
                    client, target, options, layers, codec, shape,
                ))),
            }
        });
        async move {
            let mut run = match begun? {
                Begun::Direct(run) => run,
                Begun::Layered(call) => return Box::pin(unary_through(*call, request)).await,
            };
            let message = encode(request, run.codec, run.terms.compression)
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

/// One request and one reply through layers.
async fn unary_through<Req: Message, Res: Message>(
    call: Layered,
    request: Req,
) -> Result<Reply<Res>> {
    let codec = call.codec();
    let body = Body::Message(request.into_bytes(codec, Side::Client)?);
    let Response { body, compressed, headers, trailers } = call.send(body).await?;
    let message = read_reply(codec, body.into_message().await?)?;
    Ok(Reply { message, compressed, headers, trailers })
}

impl<Req: Message, Res: Message> IntoFuture for Call<One<Req>, Single<Res>> {
    type Output = Result<Res>;
    type IntoFuture = BoxFuture<Result<Res>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send().map_ok(|reply| reply.message))
    }
}

/// The target, unless there is something wrong with it or with the options.
fn checked(target: Result<Arc<Target>>, options: &mut CallOptions) -> Result<Arc<Target>> {
    let target = target?;
    options.wrong.take().map_or(Ok(target), Err)
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

/// Opens a stream of requests that are sent through the returned half.
async fn open<Req: Message>(mut run: Run) -> Result<(Outgoing<Req>, Messages)> {
    let opened = run.bounded(OpenStream).await?;
    let (outgoing, requests) = Outgoing::new(run.codec, run.terms.compression);
    Ok((outgoing, StreamReply::opening(run, opened, requests).into_messages()))
}

/// One request and its replies through layers.
async fn server_stream_through<Req: Message, Res: Message>(
    call: Layered,
    request: Req,
) -> Result<Streaming<Res>> {
    let codec = call.codec();
    let body = Body::Message(request.into_bytes(codec, Side::Client)?);
    let replies = call.send(body).await?.body.into_messages();
    Ok(Streaming::replies(replies, codec))
}

/// A stream of requests, and its replies, through layers.
async fn stream_through<S, Req>(call: Layered, requests: S) -> Result<(Messages, Codec)>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
{
    let codec = call.codec();
    let requests = requests.map(move |request| request.into_bytes(codec, Side::Client));
    let answer = call.send(Body::Stream(Messages::new(requests))).await?;
    Ok((answer.body.into_messages(), codec))
}

/// Both halves of a stream through layers.
async fn open_through<Req: Message, Res: Message>(call: Layered) -> Result<Duplex<Req, Res>> {
    let codec = call.codec();
    let (outgoing, requests) = call.open();
    let replies = call.send(Body::Stream(requests)).await?.body.into_messages();
    Ok((outgoing, Streaming::replies(replies, codec)))
}

impl<S, Req, Out> Call<Many<S>, Out>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
{
    /// Sends the messages; the replies.
    async fn replies(self, shape: Shape) -> Result<(Messages, Codec)> {
        if self.is_layered() {
            let (call, Many(requests)) = self.layered(Req::preferred(), shape)?;
            return Box::pin(stream_through(call, requests)).await;
        }
        let (run, Many(requests)) = self.begin(Req::preferred(), shape)?;
        let codec = run.codec;
        let (outgoing, replies) = open(run).await?;
        Ok((drive(requests.map(|request| Ok((request, false))), outgoing, replies), codec))
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<One<Req>, Streaming<Res>> {
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.is_layered() {
                let (call, One(request)) = self.layered(Req::preferred(), Shape::ServerStream)?;
                return Box::pin(server_stream_through(call, request)).await;
            }
            let (mut run, One(request)) = self.begin(Req::preferred(), Shape::ServerStream)?;
            let codec = run.codec;
            let message = encode(request, codec, run.terms.compression)?;
            let (answer, lease) = run.bounded(ServerStream(message)).await?;
            let replies = StreamReply::reading(run, answer, lease).into_messages();
            Ok(Streaming::replies(replies, codec))
        })
    }
}

impl<S, Req, Res> Call<Many<S>, Single<Res>>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
    Res: Message,
{
    /// Sends the messages and waits for the answer, with the metadata around it.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn send(self) -> Result<Reply<Res>> {
        let (mut replies, codec) = self.replies(Shape::ClientStream).await?;
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

impl<S, Req, Res> IntoFuture for Call<Many<S>, Single<Res>>
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

impl<S, Req, Res> IntoFuture for Call<Many<S>, Streaming<Res>>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
    Res: Message,
{
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (replies, codec) = self.replies(Shape::BidiStream).await?;
            Ok(Streaming::replies(replies, codec))
        })
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<Open<Req>, Duplex<Req, Res>> {
    type Output = Result<Duplex<Req, Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.is_layered() {
                let (call, Open { .. }) = self.layered(Req::preferred(), Shape::BidiStream)?;
                return Box::pin(open_through(call)).await;
            }
            let (run, Open { .. }) = self.begin(Req::preferred(), Shape::BidiStream)?;
            let codec = run.codec;
            let (outgoing, replies) = open(run).await?;
            Ok((outgoing, Streaming::replies(replies, codec)))
        })
    }
}
