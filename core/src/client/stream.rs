//! Both directions of a stream, on the caller's side.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::poll_fn;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http::Response;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use tokio_util::task::AbortOnDropHandle;

use super::pipeline::{Run, deadline_passed};
use super::pool::Lease;
use super::reply::{ReplyStream, end, unreadable};
use crate::codec::{Codec, Message, Side};
use crate::error::{Code, Error, Result};
use crate::streaming::{Envelope, HeldMessage, Messages};
use crate::transport::{Answering, Compression, Opened, frame};

/// Messages that wait for HTTP/2 to take them; then sending waits.
const QUEUED: usize = 16;

/// The sending half of a stream. Dropping it half-closes the stream: the far side sees the end.
pub struct Outgoing<T> {
    sender: Sender,
    codec: Codec,
    compression: Option<Compression>,
    kind: PhantomData<fn(T)>,
}

/// Where messages go.
enum Sender {
    /// To the connection, in frames.
    Frames(mpsc::Sender<Bytes>),
    /// To layers, with whether they are to be sent as they are.
    Layers(mpsc::Sender<(Bytes, bool)>),
}

impl<T: Message> Outgoing<T> {
    pub(super) fn new(
        codec: Codec,
        compression: Option<Compression>,
    ) -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(QUEUED);
        let sender = Sender::Frames(sender);
        (Self { sender, codec, compression, kind: PhantomData }, receiver)
    }

    /// One whose messages go through layers. What is received beside a message is whether it is to be sent as it is.
    pub(super) fn to_layers(codec: Codec) -> (Self, mpsc::Receiver<(Bytes, bool)>) {
        let (sender, receiver) = mpsc::channel(QUEUED);
        let sender = Sender::Layers(sender);
        (Self { sender, codec, compression: None, kind: PhantomData }, receiver)
    }

    /// Sends one message, compressed if the call is; waits while the far side is slow. Dropping the future sends nothing.
    ///
    /// # Errors
    /// `CANCELLED` when the call is over; its receiving half says why. What
    /// [`Message::encode`] says when the message cannot be written.
    pub async fn send(&self, message: T) -> Result<()> {
        self.put(message, false).await
    }

    /// Sends one message as it is, even where the call is compressed; else as [`Outgoing::send`].
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub async fn send_uncompressed(&self, message: T) -> Result<()> {
        self.put(message, true).await
    }

    async fn put(&self, message: T, plain: bool) -> Result<()> {
        let bytes = message.into_bytes(self.codec, Side::Client)?;
        let sent = match &self.sender {
            Sender::Frames(sender) => {
                let framed = frame(&bytes, self.compression.filter(|_| !plain))?;
                sender.send(framed).await.is_ok()
            }
            Sender::Layers(sender) => sender.send((bytes, plain)).await.is_ok(),
        };
        if sent {
            return Ok(());
        }
        let over = "the call is over: read the receiving half for its end";
        Err(Error::cancelled(over).with_id("go.micro.client"))
    }

    /// Half-closes the stream.
    pub fn close(self) {}
}

impl<T> fmt::Debug for Outgoing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("codec", &self.codec).finish()
    }
}

/// The replies, with the requests, and whether each is to go as it is, sent on a task of their own. It ends with the replies; what keeps
/// a request from being sent ends the replies in turn.
pub(super) fn drive<S, Req>(requests: S, outgoing: Outgoing<Req>, mut replies: Messages) -> Messages
where
    S: Stream<Item = Result<(Req, bool)>> + Send + 'static,
    Req: Message,
{
    let sending = tokio::spawn(async move {
        let mut requests = pin!(requests);
        while let Some(request) = requests.next().await {
            let (request, plain) = match request {
                Ok(request) => request,
                Err(error) => return Some(error),
            };
            match outgoing.put(request, plain).await {
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

type Sending = Pin<Box<dyn Future<Output = Result<Response<Answering>>> + Send>>;

/// The receiving half of a stream as it comes off the wire: a source of
/// [`Messages`](crate::Messages). Dropping it cancels the call.
pub(super) struct StreamReply {
    state: State,
    run: Run,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Dropped when the call is over, which ends the sending half.
    call: Option<oneshot::Sender<Infallible>>,
    envelope: Arc<Envelope>,
    /// What is held for the message that was read last.
    held: Arc<HeldMessage>,
    holding: bool,
    /// Present while the call counts on its connection.
    _lease: Option<Lease>,
}

enum State {
    /// The head of the answer is still to come.
    Opening(Sending),
    Reading(Box<ReplyStream>),
    Ended,
}

impl StreamReply {
    /// A stream whose head has been read.
    pub(super) fn reading(run: Run, answer: ReplyStream, lease: Option<Lease>) -> Self {
        let answer = Box::new(answer);
        let mut reply = Self::new(run, State::Ended, lease, None);
        reply.read(answer);
        reply
    }

    /// A stream that sends `messages` while the head of its answer is still to come.
    pub(super) fn opening(
        run: Run,
        (opened, lease): (Opened, Option<Lease>),
        messages: mpsc::Receiver<Bytes>,
    ) -> Self {
        let (over, call) = oneshot::channel();
        let sending = Box::pin(opened.run(messages, call));
        Self::new(run, State::Opening(sending), lease, Some(over))
    }

    fn new(
        run: Run,
        state: State,
        lease: Option<Lease>,
        call: Option<oneshot::Sender<Infallible>>,
    ) -> Self {
        let deadline = run.deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let (envelope, held) = (Arc::default(), Arc::default());
        Self { state, run, deadline, call, envelope, held, holding: false, _lease: lease }
    }

    /// The messages, with what is around them.
    pub(super) fn into_messages(self) -> Messages {
        let envelope = self.envelope.clone();
        let held = self.held.clone();
        Messages::new(self).within(Some(envelope)).holding(held)
    }

    /// Goes on with the messages of `answer`.
    fn read(&mut self, mut answer: Box<ReplyStream>) {
        self.envelope.open(std::mem::take(&mut answer.headers));
        self.state = State::Reading(answer);
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(deadline_passed()));
        }
        if std::mem::take(&mut self.holding) {
            self.held.put(None);
        }
        loop {
            match &mut self.state {
                State::Opening(sending) => {
                    let response = ready!(sending.as_mut().poll(cx))?;
                    let seen = self.run.terms.seen.as_ref();
                    let answer = ReplyStream::read(
                        response,
                        self.run.max_message(),
                        self.run.share(),
                        seen,
                    )?;
                    self.read(Box::new(answer));
                }
                State::Reading(answer) => {
                    let message = ready!(answer.frames.poll_next(cx)).map_err(unreadable)?;
                    if message.is_some() {
                        answer.spoke = true;
                        self.envelope.note_compressed(answer.frames.compressed());
                        if let Some(hold) = answer.frames.take_hold() {
                            self.held.put(Some(hold));
                            self.holding = true;
                        }
                        return Poll::Ready(Ok(message));
                    }
                    let trailers = answer.frames.take_trailers();
                    let seen = self.run.terms.seen.as_ref();
                    let head = (!answer.spoke).then(|| self.envelope.head());
                    let ended = end(head, trailers.as_ref(), seen);
                    let trailers = trailers.unwrap_or_default();
                    let ended = ended.map(|error| {
                        error.with_answer(self.envelope.head().clone(), trailers.clone())
                    });
                    self.envelope.close(trailers);
                    return Poll::Ready(ended.map_or(Ok(None), Err));
                }
                State::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Stream for StreamReply {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = match ready!(this.poll_message(cx)) {
            Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
            Ok(None) => {
                this.run.succeed();
                None
            }
            Err(error) => {
                let error = this.run.settle(error);
                Some(Err(this.run.fail(error)))
            }
        };
        this.state = State::Ended;
        this.call = None;
        Poll::Ready(item)
    }
}

impl fmt::Debug for StreamReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamReply(..)")
    }
}
