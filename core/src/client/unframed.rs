//! Calls of stubs with layers around them, which see messages where stubs have frames.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream as _;
use futures_util::stream::{self, poll_fn};
use http::header::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::layered::Layered;
use super::layers::Response;
use crate::error::{Error, Result};
use crate::server::Body;
use crate::shape::Shape;
use crate::streaming::Messages;
use crate::transport::{
    Compression, FrameError, Frames, GRPC_ENCODING, broken, frame, is_status, write_status,
};

/// A call of a stub that goes through layers.
pub(super) struct Unframed {
    pub(super) call: Layered,
    /// How the stub has packed its messages.
    pub(super) packed: Option<Compression>,
    pub(super) max_message: usize,
}

impl Unframed {
    /// Sends a request that is there as a whole. One message is repeated as others are.
    pub(super) async fn send(self, request: Bytes) -> Result<(HeaderMap, LayeredReply)> {
        let mut request = Some(request).filter(|request| !request.is_empty());
        let mut frames = self.frames(move |_| Poll::Ready(request.take().map(Ok)));
        let mut messages = VecDeque::new();
        while let Some(message) = frames.next().await.map_err(unreadable)? {
            messages.push_back(Ok(message));
        }
        let (shape, body) = match (messages.pop_front(), messages.is_empty()) {
            (Some(Ok(message)), true) => (Shape::ServerStream, Body::Message(message)),
            (first, _) => {
                let messages = first.into_iter().chain(messages);
                (Shape::BidiStream, Body::Stream(Messages::new(stream::iter(messages))))
            }
        };
        LayeredReply::begin(self.call.shaped(shape).send(body).await?).await
    }

    /// Sends what `next` gives.
    pub(super) async fn open(
        self,
        next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> + Send + 'static,
    ) -> Result<(HeaderMap, LayeredReply)> {
        let mut frames = self.frames(Box::new(next));
        let messages = poll_fn(move |cx| {
            frames.poll_next(cx).map(|message| message.map_err(unreadable).transpose())
        });
        let body = Body::Stream(Messages::new(messages));
        LayeredReply::begin(self.call.send(body).await?).await
    }

    fn frames<F>(&self, next: F) -> Frames<Pieces<F>>
    where
        F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> + Unpin,
    {
        Frames::new(Pieces(next), self.packed, self.max_message)
    }
}

fn unreadable(error: FrameError<h2::Error>) -> Error {
    match error {
        FrameError::Message(error) => error.with_id("go.micro.client"),
        FrameError::Body(error) => broken(&error),
    }
}

/// The frames of a stub as a body.
struct Pieces<F>(F);

impl<F> HttpBody for Pieces<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> + Unpin,
{
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        (self.get_mut().0)(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// What layers have left of an answer, in frames.
pub(crate) struct LayeredReply {
    messages: Messages,
    trailers: HeaderMap,
    ended: bool,
}

impl LayeredReply {
    async fn begin(response: Response) -> Result<(HeaderMap, Self)> {
        let Response { body, headers, trailers, .. } = response;
        let mut messages = body.into_messages();
        let head = messages.headers().await.map(|headers| headers.headers().clone());
        let mut head = head.unwrap_or_else(|| headers.into_headers());
        // Messages are unpacked, and a status comes behind them.
        head.remove(GRPC_ENCODING);
        let status: Vec<_> = head.keys().filter(|name| is_status(name)).cloned().collect();
        for name in status {
            head.remove(name);
        }
        Ok((head, Self { messages, trailers: trailers.into_headers(), ended: false }))
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
        Poll::Ready(Some(match message {
            Some(Ok(message)) => frame(&message, None).map(Frame::data),
            Some(Err(error)) => {
                self.ended = true;
                Err(error)
            }
            None => {
                self.ended = true;
                let told = self.messages.trailers().map(|trailers| trailers.headers().clone());
                let mut trailers = told.unwrap_or_else(|| std::mem::take(&mut self.trailers));
                write_status(&mut trailers, None, false);
                Ok(Frame::trailers(trailers))
            }
        }))
    }
}
