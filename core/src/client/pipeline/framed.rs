//! Attempts at calls whose messages are framed by the caller, and whose answers go back to it as they come.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};

use super::attempt::Step;
use super::run::Run;
use crate::client::pool::Lease;
use crate::client::reply::{end, open};
use crate::error::Result;
use crate::transport::{Answering, GRPC_ACCEPT_ENCODING, Opened, X_CONTENT_TYPE, broken};

/// An answer that has begun.
pub(in crate::client) struct Begun {
    pub(in crate::client) headers: HeaderMap,
    pub(in crate::client) body: Answering,
    /// What came with the head: a frame, or that there is none.
    pub(in crate::client) first: Option<Option<Frame<Bytes>>>,
}

/// A request that is there as a whole: as repeatable as a unary call until the answer has begun.
pub(in crate::client) struct Framed(pub(in crate::client) Bytes);

impl Step for Framed {
    type Done = Begun;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Begun> {
        let (path, headers) = (run.target.path.clone(), run.framed_headers(lease)?);
        let response = lease.send(path, headers, self.0.clone())?.await?;
        let seen = run.terms.seen.as_ref();
        let (headers, mut body) = open(response, seen)?;
        // A status that comes with the head is the answer, and another node may have a better one.
        let polled = poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => Some(frame),
                Poll::Pending => None,
            })
        });
        let first = match polled.await {
            Some(Some(frame)) => Some(Some(frame.map_err(|error| broken(&error))?)),
            Some(None) => Some(None),
            None => None,
        };
        let trailers = match &first {
            Some(Some(frame)) => frame.trailers_ref(),
            _ => None,
        };
        let over = trailers.is_some() || matches!(first, Some(None));
        if over && let Some(error) = end(Some(&headers), trailers, seen) {
            return Err(error.with_answer(headers, trailers.cloned().unwrap_or_default()));
        }
        Ok(Begun { headers, body, first })
    }

    fn replaced(&self, _: &Run, _: &Bytes) -> Result<Self> {
        Ok(Self(self.0.clone()))
    }
}

/// A stream of requests that has begun. What follows cannot be repeated, so only the way there is.
pub(in crate::client) struct OpenFramed;

impl Step for OpenFramed {
    type Done = Opened;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Opened> {
        lease.open_stream(run.target.path.clone(), run.framed_headers(lease)?)
    }

    fn replaced(&self, _: &Run, _: &Bytes) -> Result<Self> {
        Ok(Self)
    }
}

impl Run {
    /// The headers of an attempt, with what the caller itself says of compression.
    fn framed_headers(&self, lease: &Lease) -> Result<HeaderMap> {
        let mut headers = self.headers(lease)?;
        // It asks for errors in go-micro's form, which stubs of gRPC do not read.
        headers.remove(X_CONTENT_TYPE);
        if !self.terms.metadata.headers().contains_key(GRPC_ACCEPT_ENCODING) {
            // Left out, it would mean all that this framework reads.
            headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Ok(headers)
    }
}
