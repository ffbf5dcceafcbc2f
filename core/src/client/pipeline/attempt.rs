//! Attempt: the call on one connection to the node that was picked.

use bytes::Bytes;

use super::run::Run;
use crate::client::layers::AttemptResponse;
use crate::client::pool::Lease;
use crate::client::reply::{ReplyStream, end, unreadable};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::selector::Node;
use crate::transport::{Opened, frame, unframe};

/// One message and the metadata around it.
pub(in crate::client) struct Received {
    pub(in crate::client) message: Bytes,
    pub(in crate::client) compressed: bool,
    pub(in crate::client) headers: Metadata,
    pub(in crate::client) trailers: Metadata,
}

/// What an attempt does on a connection to the node that was picked.
pub(in crate::client) trait Step: Sync {
    type Done: Send;

    fn attempt(&self, run: &Run, lease: &Lease) -> impl Future<Output = Result<Self::Done>> + Send;

    /// The one message, as layers see it; `None` for a stream, and where only its stub knows which messages there are.
    fn message(&self, _: &Run) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// The same with another message.
    fn replaced(&self, run: &Run, message: &Bytes) -> Result<Self>
    where
        Self: Sized;

    /// What was done, as layers see it: a stream was opened.
    fn show(_: &Self::Done) -> AttemptResponse {
        AttemptResponse::opened()
    }

    /// What layers made of what was done, which is nothing where they have answered by themselves. They answer the opening of a
    /// stream with nothing but what was opened.
    fn take(done: Option<Self::Done>, _: AttemptResponse) -> Result<Self::Done> {
        done.ok_or_else(|| {
            Error::internal(
                "a layer around an attempt answered a stream by itself: do so in a layer around the call",
            )
            .with_id("go.micro.client")
        })
    }
}

/// The one message out of its frame.
fn unframed(run: &Run, framed: &Bytes) -> Result<Bytes> {
    let (compressed, message) = unframe(framed);
    match run.terms.compression.filter(|_| compressed) {
        Some(compression) => compression.decompress(&message, usize::MAX - 1),
        None => Ok(message),
    }
}

/// One request message, one reply.
pub(in crate::client) struct Unary(pub(in crate::client) Bytes);

impl Step for Unary {
    type Done = Received;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Received> {
        let mut answer = run.send(lease, &self.0).await?;
        let mut message = answer.frames.next().await.map_err(unreadable)?;
        if run.terms.counted
            && let Some(hold) = answer.frames.take_hold()
        {
            message = message.map(|message| hold.on(message));
        }
        let compressed = answer.frames.compressed();
        let mut more = false;
        answer.spoke = message.is_some();
        if answer.spoke {
            more = answer.frames.next().await.map_err(unreadable)?.is_some();
        }
        let trailers = answer.frames.take_trailers();
        let (head, seen) = ((!answer.spoke).then_some(&answer.headers), run.terms.seen.as_ref());
        if !more && let Some(error) = end(head, trailers.as_ref(), seen) {
            return Err(error.with_answer(answer.headers, trailers.unwrap_or_default()));
        }
        let message = message.filter(|_| !more).ok_or_else(|| {
            Error::unimplemented("expected exactly one reply: is the endpoint a stream?")
                .with_id("go.micro.client")
        })?;
        Ok(Received {
            message,
            compressed,
            headers: answer.headers.into(),
            trailers: trailers.unwrap_or_default().into(),
        })
    }

    fn message(&self, run: &Run) -> Result<Option<Bytes>> {
        unframed(run, &self.0).map(Some)
    }

    fn replaced(&self, run: &Run, message: &Bytes) -> Result<Self> {
        frame(message, run.terms.compression).map(Self)
    }

    fn show(done: &Received) -> AttemptResponse {
        let Received { message, compressed, headers, trailers } = done;
        let (message, compressed) = (Some(message.clone()), *compressed);
        AttemptResponse {
            message,
            headers: headers.clone(),
            trailers: trailers.clone(),
            compressed,
        }
    }

    fn take(_: Option<Received>, answer: AttemptResponse) -> Result<Received> {
        let AttemptResponse { message, headers, trailers, compressed } = answer;
        let message = message.ok_or_else(|| {
            Error::internal("a layer around an attempt took the reply away: answer with a message")
                .with_id("go.micro.client")
        })?;
        Ok(Received { message, compressed, headers, trailers })
    }
}

/// One request message, many replies: as repeatable as a unary call until the head is there.
pub(in crate::client) struct ServerStream(pub(in crate::client) Bytes);

impl Step for ServerStream {
    type Done = ReplyStream;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<ReplyStream> {
        run.send(lease, &self.0).await
    }

    fn message(&self, run: &Run) -> Result<Option<Bytes>> {
        unframed(run, &self.0).map(Some)
    }

    fn replaced(&self, run: &Run, message: &Bytes) -> Result<Self> {
        frame(message, run.terms.compression).map(Self)
    }
}

/// A stream of requests that has begun. What follows cannot be repeated, so only the way there is.
pub(in crate::client) struct OpenStream;

impl Step for OpenStream {
    type Done = Opened;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Opened> {
        lease.open_stream(run.target.path.clone(), run.headers(lease)?)
    }

    fn replaced(&self, _: &Run, _: &Bytes) -> Result<Self> {
        Ok(Self)
    }
}

impl Run {
    /// The connection that is ready, or one that is made now.
    pub(super) async fn connected(&self, node: &Node, ready: Option<Lease>) -> Result<Lease> {
        match ready {
            Some(lease) => Ok(lease),
            // Apart from the call, whose state it would make several times as large; it is rare.
            None => Box::pin(self.client.0.pool.dial(node, &self.target.callee.dials)).await,
        }
    }

    /// Sends one request message and reads the head of the answer.
    async fn send(&self, lease: &Lease, message: &Bytes) -> Result<ReplyStream> {
        let path = self.target.path.clone();
        let response = lease.send(path, self.headers(lease)?, message.clone())?.await?;
        ReplyStream::read(response, self.max_message(), self.share(), self.terms.seen.as_ref())
    }
}
