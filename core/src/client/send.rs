//! How each kind of call is made once it is put together.

use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::stream::poll_fn;
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryFutureExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::call::{Call, Duplex, Many, One, Open, Reply, Single};
use super::handle::Target;
use super::options::CallOptions;
use super::pipeline::{OpenStream, Received, Run, ServerStream, Unary};
use super::stream::{Outgoing, StreamReply};
use crate::codec::{Codec, Message, Side, read_reply};
use crate::error::{Code, Error, Result};
use crate::server::BoxFuture;
use crate::streaming::{Messages, Streaming};
use crate::transport::{Compression, begin_frame, end_frame, frame};

impl<Req: Message, Res: Message> Call<One<Req>, Single<Res>> {
    /// Makes the call. Its time runs from here; nothing is sent before the future is awaited.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn send(self) -> impl Future<Output = Result<Reply<Res>>> + Send {
        let Self { client, target, requests: One(request), mut options, .. } = self;
        // Not in the future, which would hold all of it twice.
        let run = checked(target, &mut options)
            .map(|target| Box::new(Run::new(client, target, options, Req::preferred(), true)));
        async move {
            let mut run = run?;
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

impl<In, Out> Call<In, Out> {
    /// Begins a stream, whose messages are in the codec `preferred` unless another is chosen.
    fn begin(self, preferred: Codec) -> Result<(Run, In)> {
        let Self { client, target, requests, mut options, .. } = self;
        let target = checked(target, &mut options)?;
        Ok((Run::new(client, target, options, preferred, false), requests))
    }
}

/// Opens a stream of requests that are sent through the returned half.
async fn open<Req: Message>(mut run: Run) -> Result<(Outgoing<Req>, Messages)> {
    let opened = run.bounded(OpenStream).await?;
    let (outgoing, requests) = Outgoing::new(run.codec, run.terms.compression);
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

impl<Req: Message, Res: Message> IntoFuture for Call<One<Req>, Streaming<Res>> {
    type Output = Result<Streaming<Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (mut run, One(request)) = self.begin(Req::preferred())?;
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
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Reply<Res>> {
        let (run, Many(requests)) = self.begin(Req::preferred())?;
        let codec = run.codec;
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
            let (run, Many(requests)) = self.begin(Req::preferred())?;
            let codec = run.codec;
            let (outgoing, replies) = open(run).await?;
            Ok(Streaming::replies(drive(requests, outgoing, replies), codec))
        })
    }
}

impl<Req: Message, Res: Message> IntoFuture for Call<Open<Req>, Duplex<Req, Res>> {
    type Output = Result<Duplex<Req, Res>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (run, Open { .. }) = self.begin(Req::preferred())?;
            let codec = run.codec;
            let (outgoing, replies) = open(run).await?;
            Ok((outgoing, Streaming::replies(replies, codec)))
        })
    }
}
