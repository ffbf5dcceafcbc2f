//! Messages that arrive one after the other, on either side of a call.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use crate::codec::{Codec, Message};
use crate::error::Result;

/// Messages as bytes, for middleware and proxies. After an error or the end there is nothing more.
pub struct Messages {
    stream: Option<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>>,
}

impl Messages {
    /// Any stream of messages.
    pub fn new(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self { stream: Some(Box::pin(stream)) }
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
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let item = std::task::ready!(stream.as_mut().poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            self.stream = None;
        }
        Poll::Ready(item)
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
    kind: PhantomData<fn() -> T>,
}

impl<T: Message> Streaming<T> {
    pub(crate) fn new(messages: Messages, codec: Codec) -> Self {
        Self { messages, codec, kind: PhantomData }
    }

    /// The next message; `None` when the far side has sent its last. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// Whatever ended the stream early. On a client that is the error of the call.
    pub async fn message(&mut self) -> Result<Option<T>> {
        match self.messages.message().await? {
            Some(bytes) => T::decode(self.codec, bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The messages as bytes.
    pub fn into_messages(self) -> Messages {
        self.messages
    }
}

impl<T: Message> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let codec = self.codec;
        Pin::new(&mut self.messages)
            .poll_next(cx)
            .map(|item| item.map(|bytes| T::decode(codec, bytes?)))
    }
}
