//! Calls for stubs that are not ours: their messages are framed already, and their answers go back as they come. They walk the
//! same stages as other calls. Whether one is a stream is not known, so a timeout is one that was given to it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;
use tokio::time::{Sleep, timeout_at};

use super::handle::Client;
use super::layered::Layered;
use super::options::CallOptions;
use super::pipeline::{Begun, Framed, OpenFramed, Run, deadline_passed};
use super::pool::Lease;
use super::reply::{end, open};
use super::unframed::{LayeredReply, Unframed};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::transport::{
    Answering, Compressor, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GRPC_STATUS, broken, read_timeout,
    write_status,
};

/// What a stub says of its messages, and no one else.
const OF_STUBS: [HeaderName; 3] = [CONTENT_TYPE, GRPC_ENCODING, GRPC_ACCEPT_ENCODING];

/// Bytes of the largest message that gRPC can frame: how large one may be is for the stub to say.
const LARGEST: usize = u32::MAX as usize;

/// A call that is about to be made. Its time runs.
pub(crate) struct FramedCall(Way);

enum Way {
    Direct(Box<Run>),
    /// With layers around it.
    Layered(Box<Unframed>),
}

impl Client {
    /// Begins a call of `path` with the headers of a stub, whose timeout comes before that of the options.
    ///
    /// # Errors
    /// What is wrong with the path or the options.
    pub(crate) fn framed(
        &self,
        service: &str,
        path: &str,
        headers: HeaderMap,
        mut options: CallOptions,
    ) -> Result<FramedCall> {
        let target = self.target(service, path)?;
        if let Some(wrong) = options.wrong.take() {
            return Err(wrong);
        }
        if let Some(timeout) = read_timeout(&headers) {
            options.timeout = Some(Some(timeout));
        }
        options.compression = Some(None);
        let (codec, shape) = (Codec::Proto, Shape::BidiStream);
        if self.0.calls.is_some() {
            let packed = Compressor::incoming(&headers)?;
            options.metadata.replace_all(headers, &[])?;
            let call = Layered::new(self.clone(), target, options, None, codec, shape);
            let max_message = LARGEST;
            return Ok(FramedCall(Way::Layered(Box::new(Unframed { call, packed, max_message }))));
        }
        options.metadata.replace_all(headers, &OF_STUBS)?;
        let run = Run::new(self.clone(), target, options, codec, shape);
        Ok(FramedCall(Way::Direct(Box::new(run))))
    }
}

impl FramedCall {
    /// Sends a request that is there as a whole.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) async fn send(self, request: Bytes) -> Result<(HeaderMap, FramedReply)> {
        let mut run = match self.0 {
            Way::Direct(run) => run,
            Way::Layered(call) => {
                let (headers, reply) = Box::pin(call.send(request)).await?;
                return Ok((headers, FramedReply::Layered(Box::new(reply))));
            }
        };
        let (begun, lease) = run.bounded(Framed(request)).await?;
        Ok(Replying::begin(run, begun, lease, None))
    }

    /// Sends what `next` gives, and cancels the call when it fails.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(crate) async fn open(
        self,
        next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> + Send + 'static,
    ) -> Result<(HeaderMap, FramedReply)> {
        let mut run = match self.0 {
            Way::Direct(run) => run,
            Way::Layered(call) => {
                let (headers, reply) = Box::pin(call.open(next)).await?;
                return Ok((headers, FramedReply::Layered(Box::new(reply))));
            }
        };
        let (opened, lease) = run.bounded(OpenFramed).await?;
        let (over, call) = oneshot::channel();
        let head = opened.run_with(next, call);
        let head = match run.deadline {
            Some(deadline) => {
                timeout_at(deadline, head).await.unwrap_or_else(|_| Err(deadline_passed()))
            }
            None => head.await,
        };
        let begun = head.and_then(|head| open(head, run.terms.seen.as_ref()));
        let (headers, body) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let error = run.settle(error);
                return Err(run.fail(error));
            }
        };
        Ok(Replying::begin(run, Begun { headers, body, first: None }, lease, Some(over)))
    }
}

/// What comes behind the head of an answer. Dropping it cancels the call.
pub(crate) enum FramedReply {
    Direct(Box<Replying>),
    /// What layers have left of it.
    Layered(Box<LayeredReply>),
}

impl FramedReply {
    pub(crate) fn is_ended(&self) -> bool {
        match self {
            Self::Direct(reply) => reply.ended,
            Self::Layered(reply) => reply.is_ended(),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        match self {
            Self::Direct(reply) => reply.poll_frame(cx),
            Self::Layered(reply) => reply.poll_frame(cx),
        }
    }
}

/// The frames of an answer, as they come.
pub(crate) struct Replying {
    run: Box<Run>,
    body: Answering,
    first: Option<Option<Frame<Bytes>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Dropped when the call is over, which ends the sending half.
    call: Option<oneshot::Sender<Infallible>>,
    ended: bool,
    /// Present while the call counts on its connection.
    _lease: Option<Lease>,
}

impl Replying {
    fn begin(
        run: Box<Run>,
        begun: Begun,
        lease: Option<Lease>,
        call: Option<oneshot::Sender<Infallible>>,
    ) -> (HeaderMap, FramedReply) {
        let deadline = run.deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let Begun { headers, body, first } = begun;
        let mut reply = Self { run, body, first, deadline, call, ended: false, _lease: lease };
        let only = match &reply.first {
            Some(first) => first.is_none(),
            None => reply.body.is_end_stream(),
        };
        if only && headers.contains_key(GRPC_STATUS) {
            // The head was all, and it was no failure.
            reply.over();
            reply.run.succeed();
        }
        (headers, FramedReply::Direct(Box::new(reply)))
    }

    fn over(&mut self) {
        self.ended = true;
        self.call = None;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(self.fail(deadline_passed()))));
        }
        let frame = match self.first.take() {
            Some(first) => first.map(Ok),
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
        };
        let mut frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(broken(&error))))),
            None => {
                let without = Error::internal("the server ended the call without a status");
                return Poll::Ready(Some(Err(self.fail(without))));
            }
        };
        if let Some(trailers) = frame.trailers_mut() {
            let error = end(None, Some(trailers), self.run.terms.seen.as_ref());
            self.over();
            match error {
                None => self.run.succeed(),
                Some(error) => {
                    in_plain_grpc(trailers, &error);
                    self.run.fail(error);
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.over();
        let error = self.run.settle(error);
        self.run.fail(error)
    }
}

/// Puts the status of a micro error into the form that other stubs read.
pub(crate) fn in_plain_grpc(trailers: &mut HeaderMap, error: &Error) {
    if error.is_micro() {
        write_status(trailers, Some(error), false);
    }
}
