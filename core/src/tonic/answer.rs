//! What tonic answers, as one of our answers.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use ::tonic::body::Body as TonicBody;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response as HttpResponse, StatusCode};
use http_body::Body as HttpBody;

use super::status::{BoxError, from_trailers, to_error};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::server::{Body, Response};
use crate::shape::Shape;
use crate::streaming::{Messages, Source};
use crate::transport::{
    Compression, Compressor, FrameError, Frames, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GRPC_STATUS,
};

/// Bytes of the largest message that gRPC can frame: how large one may be is for the service to say.
const LARGEST: usize = u32::MAX as usize;

/// Reads the answer of a service; `None` where it has no such method.
///
/// # Errors
/// The status that the service answered with.
pub(super) async fn answer<B>(
    response: HttpResponse<B>,
    shape: Shape,
    context: &Context,
) -> Result<Option<Response>>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    if is_unknown(&headers) {
        return Ok(None);
    }
    let body = TonicBody::new(body);
    let packed = Compressor::incoming(&headers)?;
    let status = headers.contains_key(GRPC_STATUS).then(|| from_trailers(&mut headers));
    for name in [CONTENT_TYPE, GRPC_ENCODING, GRPC_ACCEPT_ENCODING] {
        headers.remove(name);
    }
    match status {
        // A head that is all there is, is the trailers as well.
        Some(ended) => {
            put(headers, |metadata| context.extend_trailers(metadata))?;
            return match ended {
                Some(error) => Err(error),
                None => Ok(Some(Response { body: Body::Stream(Messages::new(Nothing)) })),
            };
        }
        None if parts.status != StatusCode::OK => {
            return Err(Error::internal(format!(
                "the service answered HTTP {} without a status of gRPC",
                parts.status
            )));
        }
        None => put(headers, |metadata| context.extend_headers(metadata))?,
    }
    if let Some(packed) = packed {
        context.set_compression(packed);
    }
    let mut answer =
        Answer { frames: Frames::new(body, packed, LARGEST), packed, context: context.clone() };
    if shape.server_streams() || packed.is_some() {
        return Ok(Some(Response { body: Body::Stream(Messages::from_source(answer)) }));
    }
    let message = std::future::poll_fn(|cx| answer.poll_message(cx)).await?;
    let more = std::future::poll_fn(|cx| answer.poll_message(cx)).await?;
    match (message, more) {
        (Some(message), None) => Ok(Some(Response { body: Body::Message(message) })),
        _ => Err(Error::internal(format!(
            "{} did not answer with one message: do the descriptors fit the service?",
            context.endpoint()
        ))),
    }
}

/// What a generated service says of a method that it does not have: a bare code.
fn is_unknown(headers: &HeaderMap) -> bool {
    let bare = headers.keys().all(|name| *name == GRPC_STATUS || *name == CONTENT_TYPE);
    bare && headers.get(GRPC_STATUS).is_some_and(|code| code == "12")
}

fn put(headers: HeaderMap, put: impl FnOnce(crate::Metadata) -> Result<()>) -> Result<()> {
    if headers.is_empty() { Ok(()) } else { put(headers.into()) }
}

/// No messages.
struct Nothing;

impl Stream for Nothing {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

/// The messages of an answer, and the status behind them.
struct Answer {
    frames: Frames<TonicBody>,
    /// How the service has packed its messages.
    packed: Option<Compression>,
    context: Context,
}

impl Answer {
    fn poll_message(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Bytes>>> {
        let message = ready!(self.frames.poll_next(cx)).map_err(|error| match error {
            FrameError::Message(error) => error,
            FrameError::Body(status) => to_error(status.into()),
        })?;
        if message.is_some() {
            return Poll::Ready(Ok(message));
        }
        Poll::Ready(self.end().map(|()| None))
    }

    /// How the answer ended.
    fn end(&mut self) -> Result<()> {
        let Some(mut trailers) = self.frames.take_trailers() else {
            return Err(Error::internal("the service ended its answer without a status"));
        };
        let ended = from_trailers(&mut trailers);
        put(trailers, |metadata| self.context.extend_trailers(metadata))?;
        ended.map_or(Ok(()), Err)
    }
}

impl Stream for Answer {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx).map(Result::transpose)
    }
}

impl Source for Answer {
    fn poll_append(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        let message = ready!(self.poll_message(cx)).transpose();
        Poll::Ready(message.map(|message| message.map(|bytes| buffer.extend_from_slice(&bytes))))
    }

    fn framed(&self) -> Option<Option<Compression>> {
        Some(self.packed)
    }

    fn poll_frames(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        let frames = ready!(self.frames.poll_frames(cx));
        Poll::Ready(match frames {
            Ok(Some(frames)) => {
                buffer.extend_from_slice(&frames);
                Some(Ok(()))
            }
            Ok(None) => self.end().err().map(Err),
            Err(status) => Some(Err(to_error(status.into()))),
        })
    }
}
