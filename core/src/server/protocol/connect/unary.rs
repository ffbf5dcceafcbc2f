//! Unary calls: one message each way, and an HTTP status that says how it went.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;

use super::error::{json, status};
use super::head::head;
use crate::codec::Codec;
use crate::error::{Code, Error, Result};
use crate::server::converse::{Layout, Reply, converse};
use crate::server::dispatch::{Dispatch, Head, Peer};
use crate::server::endpoint::{Endpoint, Role};
use crate::server::protocol::refusal::refusal;
use crate::server::protocol::upload::{Upload, gone};
use crate::server::reply::ReplyBody;
use crate::server::requests::Requests;
use crate::transport::{COUNTED, Compression, Hold, Room};

/// Answers a POST of one message.
pub(in crate::server::protocol) async fn unary(
    dispatch: &Dispatch,
    parts: Parts,
    codec: Codec,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    let path = parts.uri.path();
    let streams =
        |endpoint: Arc<Endpoint>| endpoint.shape().streams() && endpoint.role != Role::Fallback;
    if dispatch.find(path).is_ok_and(streams) {
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this endpoint streams: send application/connect+json or application/connect+proto",
        );
    }
    let read = |headers: &mut HeaderMap| read_head(dispatch, codec, headers);
    let limit = dispatch.max_message;
    let room = Room::new(peer.link.connection.share.clone());
    let requests = |compression| Whole::new(body, compression, limit, room);
    answer(path, codec, parts.headers, peer, read, requests).await.0
}

/// The head of a unary call, whose body is compressed as HTTP does it.
pub(super) fn read_head(
    dispatch: &Dispatch,
    codec: Codec,
    headers: &mut HeaderMap,
) -> Result<Head> {
    head(dispatch, codec, headers, [&CONTENT_ENCODING, &ACCEPT_ENCODING])
}

/// Runs a unary call and writes its answer; says whether it went well.
pub(super) async fn answer<R: Requests>(
    path: &str,
    codec: Codec,
    headers: HeaderMap,
    peer: &Peer,
    read: impl FnOnce(&mut HeaderMap) -> Result<Head>,
    requests: impl FnOnce(Option<Compression>) -> R,
) -> (Response<ReplyBody>, bool) {
    let dispatch = &peer.link.dispatch;
    let layout = Layout::Whole(append_trailers);
    let answer = converse(path, headers, peer, layout, read, requests).await;
    let mut headers = answer.headers;
    match answer.reply {
        Reply::Message(message, _) => {
            if let Some(compression) = answer.compression {
                let name = HeaderValue::from_static(compression.name());
                headers.insert(CONTENT_ENCODING, name);
            }
            if dispatch.compression.is_some() {
                headers.append(VARY, HeaderValue::from_static("accept-encoding"));
            }
            let content_type = match codec {
                Codec::Json => "application/json",
                Codec::Added(added) => &added.content_types().connect,
                _ => "application/proto",
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let mut response = Response::new(ReplyBody::Message(Some(message), None));
            *response.headers_mut() = headers;
            (response, true)
        }
        Reply::Stream(_) => {
            // Never given for a message that is the whole body.
            let error = Error::internal("the answer is a stream of messages");
            (failure(headers, &error), false)
        }
        Reply::Failure { error, .. } => {
            let mut response = failure(headers, &error);
            if dispatch.find(path).is_err() {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            (response, false)
        }
    }
}

/// Trailers travel in the head, under names that say so.
fn append_trailers(headers: &mut HeaderMap, trailers: HeaderMap) {
    for name in trailers.keys() {
        let Ok(prefixed) = HeaderName::try_from(format!("trailer-{name}")) else { continue };
        for value in trailers.get_all(name) {
            // Metadata of a handler always has room here.
            let _ = headers.try_append(prefixed.clone(), value.clone());
        }
    }
}

/// The answer to a call that failed.
pub(super) fn failure(mut headers: HeaderMap, error: &Error) -> Response<ReplyBody> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A cache may not keep what may be better the next time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.code() == Code::Unimplemented {
        // A client whose encoding was refused needs it.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
    }
    if let Some(wait) = error.retry_after() {
        // Whole seconds, rounded up.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let text = Bytes::from(json(error).to_string());
    let mut response = Response::new(ReplyBody::Message(Some(text), None));
    *response.status_mut() = status(error.code());
    *response.headers_mut() = headers;
    response
}

/// A body that is one message.
struct Whole {
    body: Upload,
    compression: Option<Compression>,
    limit: usize,
    room: Room,
    /// The first piece, often the only one.
    first: Bytes,
    /// All pieces, once there are several.
    joined: Vec<u8>,
    /// A piece that waits for room.
    next: Bytes,
    ended: bool,
    done: bool,
}

impl Whole {
    fn new(body: Upload, compression: Option<Compression>, limit: usize, room: Room) -> Self {
        let (first, joined, next) = (Bytes::new(), Vec::new(), Bytes::new());
        Self { body, compression, limit, room, first, joined, next, ended: false, done: false }
    }

    fn check(&self, length: usize) -> Result<()> {
        if length <= self.limit {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "message of {length} bytes or more is larger than the limit of {} bytes: raise max_message_size or send less",
            self.limit
        )))
    }

    /// Joins the piece that waits to those before it, once there is room.
    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.next.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = self.first.len() + self.joined.len() + self.next.len();
        self.check(length)?;
        let capacity = self.joined.capacity();
        if self.first.is_empty() && capacity == 0 {
            let counted = if length < COUNTED { 0 } else { length };
            ready!(self.room.poll_take(counted, cx))?;
            self.first = std::mem::take(&mut self.next);
            return Poll::Ready(Ok(()));
        }
        if length > capacity {
            let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(0);
            let grown = (2 * capacity).max(length);
            // What is announced is all that will come, so nothing is taken beyond it.
            let grown = if announced == 0 { grown } else { grown.min(length + announced) };
            let grown = grown.min(self.limit).max(length);
            let counted = if self.first.len() < COUNTED { capacity } else { self.first.len() };
            ready!(self.room.poll_take(grown - counted, cx))?;
            self.joined.reserve_exact(grown - self.joined.len());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&std::mem::take(&mut self.next));
        Poll::Ready(Ok(()))
    }

    /// The message, once all pieces are there.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let packed = if self.joined.is_empty() { &self.first[..] } else { &self.joined };
        if let Some(compression) = self.compression.filter(|_| !packed.is_empty()) {
            let most = compression.most(packed, self.limit);
            ready!(self.room.poll_take(most, cx))?;
        }
        let bytes = match self.joined.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.joined).into(),
        };
        let message = open(bytes, self.compression, self.limit)?;
        self.room.settle(if message.len() < COUNTED { 0 } else { message.len() });
        Poll::Ready(Ok(message))
    }
}

/// A message out of its compression. Nothing at all is an empty message in any.
pub(super) fn open(bytes: Bytes, compression: Option<Compression>, limit: usize) -> Result<Bytes> {
    match compression.filter(|_| !bytes.is_empty()) {
        None => Ok(bytes),
        Some(compression) => compression.decompress(&bytes, limit),
    }
}

impl Requests for Whole {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.done {
            return Poll::Ready(Ok(None));
        }
        // What announces to be too long is not waited for.
        let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        self.check(announced)?;
        loop {
            ready!(self.poll_join(cx))?;
            if self.ended {
                let message = ready!(self.poll_whole(cx))?;
                self.done = true;
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.next = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Err(gone(&error)));
                }
                None => self.ended = true,
            }
        }
    }

    fn received(&self) -> u64 {
        self.body.received()
    }

    fn take_hold(&mut self) -> Option<Hold> {
        self.room.take_hold()
    }
}
