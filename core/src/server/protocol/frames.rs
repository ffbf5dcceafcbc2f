//! Messages that are framed as gRPC's are.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::upload::{Upload, gone};
use crate::error::{Error, Result};
use crate::server::requests::Requests;
use crate::transport::{FrameError, Frames, Hold};

/// Messages of a gRPC call.
pub(super) struct Conversation(Frames<Upload>);

impl Conversation {
    pub(super) fn new(frames: Frames<Upload>) -> Self {
        Self(frames)
    }
}

impl Requests for Conversation {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.0.poll_message(cx)
    }

    fn compressed(&self) -> bool {
        self.0.compressed()
    }

    fn received(&self) -> u64 {
        self.0.received()
    }

    fn is_partial(&self) -> bool {
        Requests::is_partial(&self.0)
    }

    fn take_hold(&mut self) -> Option<Hold> {
        Requests::take_hold(&mut self.0)
    }

    /// Waits for nothing: go-micro's clients and proxies never half-close (wire reference 1.5).
    fn poll_only(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Requests for Frames<Upload> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.poll_next(cx).map_err(unreadable)
    }

    fn compressed(&self) -> bool {
        Frames::compressed(self)
    }

    fn received(&self) -> u64 {
        self.body().received()
    }

    fn is_partial(&self) -> bool {
        Frames::is_partial(self)
    }

    fn take_hold(&mut self) -> Option<Hold> {
        Frames::take_hold(self)
    }
}

fn unreadable(error: FrameError<hyper::Error>) -> Error {
    match error {
        FrameError::Message(error) => error,
        FrameError::Body(error) => gone(&error),
    }
}
