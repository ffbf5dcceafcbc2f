//! Unary calls: one message each way, and an HTTP status that says how it went.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;

use super::error::{json, status};
use super::head;
use crate::codec::Codec;
use crate::error::{Code, Error, Result};
use crate::server::dispatch::{Dispatch, Head, Peer, told};
use crate::server::protocol::refusal::refusal;
use crate::server::protocol::requests::{Requests, Upload, gone};
use crate::server::reply::ReplyBody;
use crate::transport::Compression;

/// Compressing less than this costs more than it saves.
const WORTH_COMPRESSING: usize = 256;

/// Answers a POST of one message.
pub(in crate::server::protocol) async fn unary(
    dispatch: &Dispatch,
    parts: Parts,
    codec: Codec,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    let path = parts.uri.path();
    if dispatch.find(path).is_ok_and(|endpoint| endpoint.kind().streams()) {
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this endpoint streams: send application/connect+json or application/connect+proto",
        );
    }
    let read = |headers: &mut HeaderMap| read_head(dispatch, codec, headers);
    let limit = dispatch.max_message;
    let requests = |compression| Whole::new(body, compression, limit);
    answer(dispatch, path, parts.headers, peer, read, requests).await.0
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
    dispatch: &Dispatch,
    path: &str,
    mut headers: HeaderMap,
    peer: &Peer,
    read: impl FnOnce(&mut HeaderMap) -> Result<Head>,
    requests: impl FnOnce(Option<Compression>) -> R,
) -> (Response<ReplyBody>, bool) {
    let mut call = match dispatch.admit(path, &mut headers, peer, read) {
        Ok(call) => call,
        Err(error) => {
            let mut response = failure(HeaderMap::new(), &error);
            if dispatch.find(path).is_err() {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            return (response, false);
        }
    };
    let outgoing = call.head.outgoing;
    let message = match dispatch.run(&call, requests(call.head.incoming), &peer.unsent).await {
        Ok(body) => body.into_message().await.map_err(|error| told(error, call.record.context())),
        Err(error) => Err(error),
    };
    let packed = message.and_then(|message| match outgoing {
        Some(compression) if message.len() >= WORTH_COMPRESSING => {
            Ok((compression.compress(&message)?, outgoing))
        }
        _ => Ok((message, None)),
    });
    let context = call.record.context();
    let mut headers = context.take_reply_headers();
    append_trailers(&mut headers, context.take_reply_trailers());
    match packed {
        Ok((message, compression)) => {
            call.record.finish(None);
            if let Some(compression) = compression {
                let name = HeaderValue::from_static(compression.name());
                headers.insert(CONTENT_ENCODING, name);
            }
            if dispatch.compression.is_some() {
                headers.append(VARY, HeaderValue::from_static("accept-encoding"));
            }
            let content_type = match call.head.codec {
                Codec::Json => "application/json",
                _ => "application/proto",
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let mut response =
                Response::new(ReplyBody::Message(Some(peer.unsent.count(message)), None));
            *response.headers_mut() = headers;
            (response, true)
        }
        Err(error) => {
            call.record.finish(Some(&error));
            (failure(headers, &error), false)
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
    /// The first piece, often the only one.
    first: Bytes,
    /// All pieces, once there are several.
    joined: BytesMut,
    ended: bool,
}

impl Whole {
    fn new(body: Upload, compression: Option<Compression>, limit: usize) -> Self {
        let (first, joined) = (Bytes::new(), BytesMut::new());
        Self { body, compression, limit, first, joined, ended: false }
    }

    fn add(&mut self, data: Bytes) -> Result<()> {
        let length = self.first.len() + self.joined.len() + data.len();
        self.check(length)?;
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = data;
            return Ok(());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&data);
        Ok(())
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

    fn message(&mut self) -> Result<Bytes> {
        let bytes = match self.joined.is_empty() {
            true => std::mem::take(&mut self.first),
            false => self.joined.split().freeze(),
        };
        open(bytes, self.compression, self.limit)
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
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        // What announces to be too long is not waited for.
        let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        self.check(announced)?;
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.add(data)?;
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(gone(&error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(self.message().map(Some));
                }
            }
        }
    }
}
