//! What comes back to a client that tonic generates.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::tonic::Status;
use bytes::Bytes;
use http_body::{Body, Frame};

use super::status::of_call;
use crate::client::framed::FramedReply;

/// The messages of an answer, in their frames, and its trailers. Dropping it cancels the call. The default is empty.
#[derive(Default)]
pub struct ReplyBody(Option<Replying>);

struct Replying {
    reply: FramedReply,
    /// Where the request is a stream.
    failure: Option<Failure>,
}

impl ReplyBody {
    pub(super) fn new(reply: FramedReply, failure: Option<Failure>) -> Self {
        Self(Some(Replying { reply, failure }))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(replying) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(replying.reply.poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let own = replying.failure.as_ref().and_then(Failure::take);
                own.unwrap_or_else(|| of_call(error))
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|replying| replying.reply.is_ended())
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyBody")
    }
}

/// What kept a request from being sent on.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Status>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}
