//! Messages that arrive one after the other, on either side of a call.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use pin_project_lite::pin_project;

use crate::codec::{Codec, Message, read_reply, read_request};
use crate::error::Result;
use crate::metadata::Metadata;
#[cfg(feature = "tonic")]
use crate::transport::Compression;
use crate::transport::Hold;

/// Where messages come from: a stream of them that can also write the next one where it is wanted.
pub(crate) trait Source: Stream<Item = Result<Bytes>> {
    /// Appends the next message to `buffer`, which may hold a part of it after an error.
    fn poll_append(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>>;

    /// How its messages are compressed, where it has them in gRPC's frames already.
    #[cfg(feature = "tonic")]
    fn framed(&self) -> Option<Option<Compression>> {
        None
    }

    /// Appends frames to `buffer`, of a source that has them.
    #[cfg(feature = "tonic")]
    fn poll_frames(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        Poll::Ready(None)
    }
}

pin_project! {
    /// Messages that are bytes already.
    struct Written<S> {
        #[pin]
        stream: S,
    }
}

impl<S: Stream<Item = Result<Bytes>>> Stream for Written<S> {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().stream.poll_next(cx)
    }
}

impl<S: Stream<Item = Result<Bytes>>> Source for Written<S> {
    fn poll_append(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        let item = ready!(self.poll_next(cx));
        Poll::Ready(item.map(|message| message.map(|bytes| buffer.extend_from_slice(&bytes))))
    }
}

/// Messages as bytes, for middleware and proxies. After an error or the end there is nothing more.
pub struct Messages {
    stream: Option<Pin<Box<dyn Source + Send>>>,
    /// On a client.
    envelope: Option<Arc<Envelope>>,
    /// What came while only the headers were wanted.
    early: Option<Option<Result<Bytes>>>,
    /// Where a source leaves what is held for its message.
    held: Option<Arc<HeldMessage>>,
}

/// What is held for the message that a reader has in its hands: given up when it asks for the next one.
#[derive(Debug, Default)]
pub(crate) struct HeldMessage(Mutex<Option<Hold>>);

impl HeldMessage {
    pub(crate) fn put(&self, hold: Option<Hold>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    fn take(&self) -> Option<Hold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What is around the messages that a client receives.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    headers: OnceLock<Metadata>,
    trailers: OnceLock<Metadata>,
    compressed: AtomicBool,
}

impl Envelope {
    /// The head of the answer is there.
    pub(crate) fn open(&self, headers: HeaderMap) {
        let _ = self.headers.set(headers.into());
    }

    /// The answer is over.
    pub(crate) fn close(&self, trailers: HeaderMap) {
        let _ = self.trailers.set(trailers.into());
    }

    /// The head of the answer, empty before it is there.
    pub(crate) fn head(&self) -> &HeaderMap {
        self.headers.get_or_init(Metadata::new).headers()
    }

    pub(crate) fn note_compressed(&self, compressed: bool) {
        self.compressed.store(compressed, Ordering::Relaxed);
    }
}

impl Messages {
    /// Any stream of messages.
    pub fn new(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self::from_source(Written { stream })
    }

    pub(crate) fn from_source(source: impl Source + Send + 'static) -> Self {
        Self { stream: Some(Box::pin(source)), envelope: None, early: None, held: None }
    }

    /// The same, for a source that leaves what it holds for a message in `held`.
    pub(crate) fn holding(mut self, held: Arc<HeldMessage>) -> Self {
        self.held = Some(held);
        self
    }

    /// These messages by way of `around`, such as one that counts or changes them. What is around them, headers and trailers
    /// of an answer, stays with them.
    ///
    /// ```
    /// # use futures_util::StreamExt as _;
    /// # use micro::Messages;
    /// fn logged(messages: Messages) -> Messages {
    ///     messages.wrap(|messages| messages.inspect(|message| println!("{message:?}")))
    /// }
    /// ```
    #[must_use]
    pub fn wrap<S>(self, around: impl FnOnce(Self) -> S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        let (envelope, held) = (self.envelope.clone(), self.held.clone());
        Self { envelope, held, ..Self::new(around(self)) }
    }

    /// What is held for the message that was read last. For bindings that queue messages: `None` for one that is too small to
    /// be counted.
    #[doc(hidden)]
    pub fn take_hold(&self) -> Option<Hold> {
        self.held.as_ref()?.take()
    }

    pub(crate) fn within(mut self, envelope: Option<Arc<Envelope>>) -> Self {
        self.envelope = envelope;
        self
    }

    pub(crate) fn envelope(&self) -> Option<&Arc<Envelope>> {
        self.envelope.as_ref()
    }

    /// Headers of the answer, on a client; waits for them. `None` when the call ended without any,
    /// and on a server, where they are in the [`Context`](crate::Context). Dropping the future
    /// loses nothing.
    pub async fn headers(&mut self) -> Option<&Metadata> {
        let envelope = self.envelope.clone()?;
        std::future::poll_fn(|cx| {
            if self.early.is_none()
                && envelope.headers.get().is_none()
                && let Poll::Ready(item) = self.poll_source(cx)
            {
                self.early = Some(item);
            }
            let known = self.early.is_some() || envelope.headers.get().is_some();
            if known { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.envelope.as_ref()?.headers.get()
    }

    /// Trailers of the answer, on a client, once there are no more messages. `None` before that,
    /// when the call ended without any, and on a server.
    pub fn trailers(&self) -> Option<&Metadata> {
        self.envelope.as_ref()?.trailers.get()
    }

    /// Whether the message read last came compressed, on a client; a server's handler asks
    /// [`Context::request_compressed`](crate::Context::request_compressed).
    pub fn compressed(&self) -> bool {
        self.envelope.as_ref().is_some_and(|envelope| envelope.compressed.load(Ordering::Relaxed))
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let item = ready!(stream.as_mut().poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            self.stream = None;
        }
        Poll::Ready(item)
    }

    /// Appends the next message to `buffer`, which may hold a part of it after an error.
    pub(crate) fn poll_append(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        if let Some(item) = self.early.take() {
            return Poll::Ready(
                item.map(|item| item.map(|bytes| buffer.extend_from_slice(&bytes))),
            );
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let item = ready!(stream.as_mut().poll_append(cx, buffer));
        if !matches!(item, Some(Ok(()))) {
            self.stream = None;
        }
        Poll::Ready(item)
    }

    /// How the messages are compressed, where their source has them in gRPC's frames already.
    #[cfg(feature = "tonic")]
    pub(crate) fn framed(&self) -> Option<Option<Compression>> {
        self.stream.as_ref()?.framed()
    }

    /// Appends frames to `buffer`, of a source that has them.
    #[cfg(feature = "tonic")]
    pub(crate) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let item = ready!(stream.as_mut().poll_frames(cx, buffer));
        if !matches!(item, Some(Ok(()))) {
            self.stream = None;
        }
        Poll::Ready(item)
    }

    /// The next message; `None` when the far side has sent its last. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// Whatever ended the stream early. On a client that is the error of the call.
    pub async fn message(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }
}

impl Stream for Messages {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.early.take() {
            Some(item) => Poll::Ready(item),
            None => self.poll_source(cx),
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("ended", &self.stream.is_none()).finish()
    }
}

/// Messages of type `T`. Read with [`Streaming::message`] or as a [`Stream`]; dropping it tells the
/// far side to stop.
#[derive(Debug)]
pub struct Streaming<T> {
    messages: Messages,
    codec: Codec,
    read: Read<T>,
}

/// How a message is read: the fault of one that cannot be is not the same on both sides.
type Read<T> = fn(Codec, Bytes) -> Result<T>;

impl<T: Message> Streaming<T> {
    /// What a caller sends.
    pub(crate) fn requests(messages: Messages, codec: Codec) -> Self {
        Self { messages, codec, read: read_request }
    }

    /// What a handler answers.
    pub(crate) fn replies(messages: Messages, codec: Codec) -> Self {
        Self { messages, codec, read: read_reply }
    }

    /// The next message; `None` when the far side has sent its last. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// Whatever ended the stream early. On a client that is the error of the call.
    pub async fn message(&mut self) -> Result<Option<T>> {
        match self.messages.message().await? {
            Some(bytes) => (self.read)(self.codec, bytes).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Messages::headers`].
    pub async fn headers(&mut self) -> Option<&Metadata> {
        self.messages.headers().await
    }

    /// As [`Messages::trailers`].
    pub fn trailers(&self) -> Option<&Metadata> {
        self.messages.trailers()
    }

    /// As [`Messages::compressed`].
    pub fn compressed(&self) -> bool {
        self.messages.compressed()
    }

    /// The messages as bytes.
    pub fn into_messages(self) -> Messages {
        self.messages
    }

    /// As [`Messages::take_hold`].
    #[doc(hidden)]
    pub fn take_hold(&self) -> Option<Hold> {
        self.messages.take_hold()
    }
}

impl<T: Message> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (codec, read) = (self.codec, self.read);
        Pin::new(&mut self.messages).poll_next(cx).map(|item| item.map(|bytes| read(codec, bytes?)))
    }
}
