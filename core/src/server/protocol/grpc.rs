//! gRPC over HTTP/2, and the conversation it shares with the protocols that frame messages as it does.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::requests::{Conversation, Requests, Upload};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::server::dispatch::{Dispatch, Head, Peer};
use crate::server::handler::Body;
use crate::server::reply::{ReplyBody, StreamBody};
use crate::transport::{
    Compression, Compressor, Frames, OTHER_SERVICE, REFUSED, caller_is_micro, frame, read_timeout,
    write_status,
};

/// When the caller may try again; below zero says never (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// Compressing less than this costs more than it saves.
const WORTH_COMPRESSING: usize = 256;

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
    let answer = converse(dispatch, parts.uri.path(), parts.headers, peer, read, requests).await;
    answer.write(&content_type)
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

/// The answer to a call whose messages are framed, before a protocol writes it.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    /// Compression the head has to name.
    pub(super) compression: Option<Compression>,
    pub(super) reply: Reply,
}

pub(super) enum Reply {
    /// One framed message, and the trailers with the status.
    Message(Bytes, HeaderMap),
    /// Framed messages; the trailers with the status come last.
    Stream(Box<StreamBody>),
    /// No message at all: the error, trailers without a status, and whether a micro caller asks.
    Failure { error: Error, trailers: HeaderMap, micro: bool },
}

/// Runs a call whose messages are framed as gRPC's are. `read` takes the protocol's part of the
/// headers, `requests` cuts messages out of the body.
pub(super) async fn converse<R: Requests>(
    dispatch: &Dispatch,
    path: &str,
    mut headers: HeaderMap,
    peer: &Peer,
    read: impl FnOnce(&mut HeaderMap) -> Result<Head>,
    requests: impl FnOnce(Option<Compression>) -> R,
) -> Answer {
    let mut call = match dispatch.admit(path, &mut headers, peer, read) {
        Ok(call) => call,
        Err(error) => {
            let micro = caller_is_micro(&headers);
            let mut headers = HeaderMap::new();
            if peer.misdirected {
                headers.insert(REFUSED, OTHER_SERVICE);
            }
            return Answer::failure(headers, HeaderMap::new(), error, micro);
        }
    };
    let requests = requests(call.head.incoming);
    let outcome = dispatch.run(&mut call, requests, &peer.link.connection).await;
    let context = call.record.context();
    let mut headers = context.take_reply_headers();
    has_run(&mut headers);
    let outcome = outcome.and_then(|body| {
        peer.link.said.takes("the headers of the answer", &headers)?;
        Ok(body)
    });
    let chosen = context.compression();
    let compression = chosen.unwrap_or(call.head.outgoing);
    let framed = match outcome {
        Ok(Body::Message(message)) => {
            let wanted = chosen.is_some() || message.len() >= WORTH_COMPRESSING;
            frame(&message, compression.filter(|_| wanted))
        }
        Ok(Body::Stream(messages)) => {
            let body = StreamBody::new(messages, compression, call.record, peer);
            return Answer { headers, compression, reply: Reply::Stream(Box::new(body)) };
        }
        Err(error) => Err(error),
    };
    let mut trailers = context.take_reply_trailers();
    has_run(&mut trailers);
    let framed = framed.and_then(|message| {
        peer.link.said.takes("the trailers of the answer", &trailers)?;
        Ok(message)
    });
    match framed {
        Ok(message) => {
            call.record.finish(None);
            write_status(&mut trailers, None, false);
            let compression = compression.filter(|_| message.first() == Some(&1));
            let message = peer.link.connection.unsent.count(message);
            Answer { headers, compression, reply: Reply::Message(message, trailers) }
        }
        Err(error) => {
            let micro = caller_is_micro(context.metadata().headers());
            call.record.finish(Some(&error));
            // What is too large is left out, but why the call failed is not.
            for metadata in [&mut headers, &mut trailers] {
                if peer.link.said.takes("", metadata).is_err() {
                    metadata.clear();
                }
            }
            Answer::failure(headers, trailers, error, micro)
        }
    }
}

/// The handler has run, whatever it says.
fn has_run(metadata: &mut HeaderMap) {
    if !metadata.is_empty() {
        metadata.remove(REFUSED);
    }
}

impl Answer {
    fn failure(headers: HeaderMap, trailers: HeaderMap, error: Error, micro: bool) -> Self {
        Self { headers, compression: None, reply: Reply::Failure { error, trailers, micro } }
    }

    /// As gRPC writes it. The content type is the request's, bare or with its subtype (wire
    /// reference 1.3).
    pub(super) fn write(self, content_type: &HeaderValue) -> Response<ReplyBody> {
        let mut headers = self.headers;
        let body = match self.reply {
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
        Compressor::announce(&mut headers, self.compression);
        headers.insert(CONTENT_TYPE, content_type.clone());
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        response
    }
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
