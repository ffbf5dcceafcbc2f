//! Calls with layers around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use tokio::time::timeout_at;

use super::cached::cached;
use super::call::OwnLayers;
use super::handle::Client;
use super::layers::{AttemptRequest, CallWay, Request, Response};
use super::options::{CallOptions, Parent};
use super::pipeline::{OpenStream, Received, Run, ServerStream, Unary, deadline, deadline_passed};
use super::stream::{Outgoing, StreamReply, drive};
use super::target::Target;
use super::terms::Terms;
use crate::codec::{Codec, Message, Raw};
use crate::error::{Error, Result};
use crate::server::Body;
use crate::shape::Shape;
use crate::streaming::Messages;
use crate::transport::frame;

/// A call that is to go through layers. Its messages are still to come.
pub(super) struct Layered {
    way: CallWay,
    request: Request,
    /// The message read last from the request's stream is to be sent as it is.
    plain: Arc<AtomicBool>,
}

impl Layered {
    /// A call on these terms, whose time runs from here. Its messages are in the codec `preferred` unless another is chosen.
    pub(super) fn new(
        client: Client,
        target: Arc<Target>,
        mut options: CallOptions,
        own: Option<Box<OwnLayers>>,
        preferred: Codec,
        shape: Shape,
    ) -> Self {
        let usual = &client.0.options;
        let context = Terms::parent_of(usual, &options);
        let timeout = Terms::timeout(usual, &options, shape == Shape::Unary);
        let deadline = deadline(context.as_ref(), timeout);
        let codec = options.codec.or(usual.codec).unwrap_or(preferred);
        // It has been heeded. One that a layer sets comes on top.
        options.timeout = None;
        let kept = options.cached.or(usual.cached).filter(|time| !time.is_zero());
        let kept = kept.filter(|_| shape == Shape::Unary);
        let plain = Arc::<AtomicBool>::default();
        let outermost = client.0.calls.clone();
        let (calls, attempts) = own.map(|own| (own.calls, own.attempts)).unwrap_or_default();
        let attempts = (!attempts.is_empty()).then(|| attempts.around(AttemptRequest::innermost()));
        let keeper = client.clone();
        let call = {
            let plain = plain.clone();
            CallWay::new(move |request| {
                let mut run = Self::run_of(client.clone(), &request);
                run.attempt_layers.clone_from(&attempts);
                make(run, request, plain.clone())
            })
        };
        let call = match kept {
            Some(time) => cached(&keeper, time, call),
            None => call,
        };
        let route = calls.around(call);
        let way = outermost.unwrap_or_else(|| route.clone());
        let body = Body::Message(Bytes::new());
        let request = Request { options, body, target, context, shape, codec, deadline, route };
        Self { way, request, plain }
    }

    /// The same call with another shape, for one whose messages are looked at late.
    #[cfg(feature = "tonic")]
    pub(super) fn shaped(mut self, shape: Shape) -> Self {
        self.request.shape = shape;
        self
    }

    pub(super) fn codec(&self) -> Codec {
        self.request.codec
    }

    /// Messages that the caller sends through an [`Outgoing`].
    pub(super) fn open<T: Message>(&self) -> (Outgoing<T>, Messages) {
        let (outgoing, mut messages) = Outgoing::to_layers(self.codec());
        let flag = self.plain.clone();
        let messages = poll_fn(move |cx| {
            messages.poll_recv(cx).map(|message| {
                let (message, plain) = message?;
                flag.store(plain, Ordering::Relaxed);
                Some(Ok(message))
            })
        });
        (outgoing, Messages::new(messages))
    }

    /// Makes the call, through all of its layers.
    pub(super) async fn send(mut self, body: Body) -> Result<Response> {
        self.request.body = body;
        let deadline = self.request.deadline;
        let answer = self.way.run(self.request);
        match deadline {
            Some(at) => timeout_at(at, answer).await.unwrap_or_else(|_| Err(deadline_passed())),
            None => answer.await,
        }
    }

    /// The call that layers have left of a request.
    fn run_of(client: Client, request: &Request) -> Run {
        let mut options = request.options.clone();
        options.codec = Some(request.codec);
        options.parent = Some(request.context.clone().map_or(Parent::None, Parent::This));
        options.timeout = Some(options.timeout.flatten());
        let mut run =
            Run::new(client, request.target.clone(), options, request.codec, request.shape);
        run.deadline = match (run.deadline, request.deadline) {
            (Some(own), Some(whole)) => Some(own.min(whole)),
            (own, whole) => own.or(whole),
        };
        run
    }
}

/// Makes a call, whose messages are bytes.
async fn make(mut run: Run, request: Request, plain: Arc<AtomicBool>) -> Result<Response> {
    let Request { body, mut options, shape, .. } = request;
    if let Some(error) = options.wrong.take() {
        return Err(run.fail(error));
    }
    if shape.client_streams() {
        let opened = run.bounded(OpenStream).await?;
        let (outgoing, requests) = Outgoing::<Raw>::new(run.codec, run.terms.compression);
        let replies = StreamReply::opening(run, opened, requests).into_messages();
        let requests = body.into_messages().map(move |message| {
            message.map(|message| (Raw(message), plain.swap(false, Ordering::Relaxed)))
        });
        return Ok(Response::of(Body::Stream(drive(requests, outgoing, replies))));
    }
    let message = body.into_message().await;
    let message = message.and_then(|message| frame(&message, run.terms.compression));
    let message = message.map_err(|error: Error| run.fail(error))?;
    if shape == Shape::ServerStream {
        let (answer, lease) = run.bounded(ServerStream(message)).await?;
        let replies = StreamReply::reading(run, answer, lease).into_messages();
        return Ok(Response::of(Body::Stream(replies)));
    }
    let (received, _lease) = run.bounded(Unary(message)).await?;
    run.succeed();
    let Received { message, compressed, headers, trailers } = received;
    Ok(Response { body: Body::Message(message), headers, trailers, compressed })
}
