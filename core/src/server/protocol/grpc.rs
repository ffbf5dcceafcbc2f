//! gRPC over HTTP/2: how a head is read and an answer is written.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::frames::Conversation;
use super::upload::Upload;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::server::converse::{CallAnswer, Layout, Reply, converse};
use crate::server::dispatch::{Dispatch, Head, Peer};
use crate::server::reply::ReplyBody;
use crate::transport::{Compressor, Frames, read_timeout, write_status};

/// When the caller may try again; below zero says never (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The content type of a gRPC request; `None` when it is something else.
pub(super) fn content_type(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(CONTENT_TYPE).filter(|value| is_grpc(value)).cloned()
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    bytes.len() >= 16
        && bytes[..16].eq_ignore_ascii_case(b"application/grpc")
        && matches!(bytes.get(16), None | Some(b'+' | b';'))
}

/// Answers a gRPC call.
pub(super) async fn answer(
    parts: Parts,
    content_type: HeaderValue,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    let dispatch = &peer.link.dispatch;
    let read = |headers: &mut HeaderMap| head(dispatch, &content_type, headers);
    let share = peer.link.connection.share.clone();
    let requests = |incoming| {
        Conversation::new(Frames::new(body, incoming, dispatch.max_message).within(share))
    };
    let answer =
        converse(parts.uri.path(), parts.headers, peer, Layout::Framed, read, requests).await;
    write(answer, &content_type)
}

/// What gRPC says of a call in its head.
pub(super) fn head(
    dispatch: &Dispatch,
    content_type: &HeaderValue,
    headers: &HeaderMap,
) -> Result<Head> {
    let codec = content_type
        .to_str()
        .map_err(|_| Error::unimplemented("content-type is not text"))
        .and_then(Codec::from_content_type)
        .map_err(|error| error.with_id("go.micro.server"))?;
    Ok(Head {
        codec,
        incoming: Compressor::incoming(headers)?,
        outgoing: dispatch.compression.filter(|c| Compressor::peer_reads(headers, *c)),
        timeout: read_timeout(headers),
        query: None,
    })
}

/// An answer as gRPC writes it. The content type is the request's, bare or with its subtype (wire
/// reference 1.3).
pub(super) fn write(answer: CallAnswer, content_type: &HeaderValue) -> Response<ReplyBody> {
    let mut headers = answer.headers;
    let body = match answer.reply {
        Reply::Message(message, trailers) => ReplyBody::Message(Some(message), Some(trailers)),
        Reply::Stream(body) => ReplyBody::Stream(body),
        Reply::Failure { error, trailers, micro } => {
            // A failure has no messages: its trailers travel in the head.
            // What finds no room in there, no peer would take.
            let _ = crate::context::extend(&mut headers, trailers.into());
            write_failure(&mut headers, &error, micro);
            ReplyBody::Empty
        }
    };
    Compressor::announce(&mut headers, answer.compression);
    headers.insert(CONTENT_TYPE, content_type.clone());
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

fn write_failure(headers: &mut HeaderMap, error: &Error, micro: bool) {
    write_status(headers, Some(error), micro);
    // What this side reads; a client whose encoding was refused needs it.
    Compressor::accept(headers);
    if error.forbids_retry() {
        headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
    } else if let Some(wait) = error.retry_after() {
        // Clients read 32 bits, and take what is more for a no.
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        headers.insert(PUSHBACK, HeaderValue::from(millis));
    }
}
