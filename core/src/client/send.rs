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
enum Begun<R> {
    Direct(R),
    Layered(Box<Layered>),
}

impl<In, Out> Call<In, Out> {
    /// Begins the call, whose messages are in the codec `preferred` unless another is chosen.
    fn begin<R>(
        self,
        preferred: Codec,
        shape: Shape,
        direct: impl FnOnce(Run) -> R,
    ) -> Result<(Begun<R>, In)> {
        let Self { client, target, requests, mut options, layers, .. } = self;
        let target = checked(target, &mut options)?;
        let begun = if client.0.calls.is_none() && layers.is_none() {
            Begun::Direct(direct(Run::new(client, target, options, preferred, shape)))
        } else {
            let call = Layered::new(client, target, options, layers, preferred, shape);
            Begun::Layered(Box::new(call))
        };
        Ok((begun, requests))
    }
}

impl<Req: Message, Res: Message> Call<One<Req>, Single<Res>> {
    /// Makes the call. Its time runs from here; nothing is sent before the future is awaited.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub fn send(self) -> impl Future<Output = Result<Reply<Res>>> + Send {
        // Not in the future, which would hold all of it twice.
        let begun = self.begin(Req::preferred(), Shape::Unary, Box::new);
        async move {
            let (begun, One(request)) = begun?;
            let mut run = match begun {
                Begun::Direct(run) => run,
                Begun::Layered(call) => return Box::pin(layered(*call, request)).await,
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
async fn layered<Req: Message, Res: Message>(call: Layered, request: Req) -> Result<Reply<Res>> {
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

/// The replies to a stream of requests.
async fn replies<S, Req>(begun: Begun<Run>, requests: S) -> Result<(Messages, Codec)>
where
    S: Stream<Item = Req> + Send + 'static,
    Req: Message,
{
    match begun {
        Begun::Direct(run) => {
            let codec = run.codec;
            let (outgoing, replies) = open(run).await?;
            Ok((drive(requests.map(|request| Ok((request, false))), outgoing, replies), codec))
        }
        Begun::Layered(call) => {
            let codec = call.codec();
            let requests = requests.map(move |request| request.into_bytes(codec, Side::Client));
            let answer = Box::pin(call.send(Body::Stream(Messages::new(requests)))).await?;
            Ok((answer.body.into_messages(), codec))
        }
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<One<Req>, Streaming<Res>> {
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let direct = |run| run;
            let (begun, One(request)) =
                self.begin(Req::preferred(), Shape::ServerStream, direct)?;
            let mut run = match begun {
                Begun::Direct(run) => run,
                Begun::Layered(call) => {
                    let codec = call.codec();
                    let body = Body::Message(request.into_bytes(codec, Side::Client)?);
                    let answer = Box::pin(call.send(body)).await?;
                    return Ok(Streaming::replies(answer.body.into_messages(), codec));
                }
            };
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
        let (begun, Many(requests)) =
            self.begin(Req::preferred(), Shape::ClientStream, |run| run)?;
        let (mut replies, codec) = replies(begun, requests).await?;
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
            let (begun, Many(requests)) =
                self.begin(Req::preferred(), Shape::BidiStream, |run| run)?;
            let (replies, codec) = replies(begun, requests).await?;
            Ok(Streaming::replies(replies, codec))
        })
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<Open<Req>, Duplex<Req, Res>> {
    type Output = Result<Duplex<Req, Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (begun, Open { .. }) =
                self.begin(Req::preferred(), Shape::BidiStream, |run| run)?;
            match begun {
                Begun::Direct(run) => {
                    let codec = run.codec;
                    let (outgoing, replies) = open(run).await?;
                    Ok((outgoing, Streaming::replies(replies, codec)))
                }
                Begun::Layered(call) => {
                    let codec = call.codec();
                    let (outgoing, requests) = call.open();
                    let answer = Box::pin(call.send(Body::Stream(requests))).await?;
                    Ok((outgoing, Streaming::replies(answer.body.into_messages(), codec)))
                }
            }
        })
    }
}
