//! Streams: gRPC's framing, over any version of HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::error::end_of_stream;
use super::head::head;
use crate::codec::Codec;
use crate::server::converse::{Layout, Reply, converse};
use crate::server::dispatch::{Dispatch, Peer};
use crate::server::protocol::upload::Upload;
use crate::server::reply::{LastMessage, ReplyBody, framed};
use crate::transport::{Frames, write_status};

const ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("connect-accept-encoding");
/// Marks the message that ends a stream.
const END: u8 = 0x02;

/// Answers a call of any shape whose messages are framed. It always succeeds for HTTP.
pub(in crate::server::protocol) async fn stream(
    dispatch: &Dispatch,
    parts: Parts,
    codec: Codec,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    let read =
        |headers: &mut HeaderMap| head(dispatch, codec, headers, [&ENCODING, &ACCEPT_ENCODING]);
    let share = peer.link.connection.share.clone();
    let requests = |incoming| Frames::new(body, incoming, dispatch.max_message).within(share);
    let answer =
        converse(parts.uri.path(), parts.headers, peer, Layout::Framed, read, requests).await;
    let mut headers = answer.headers;
    let body = match answer.reply {
        Reply::Message(message, trailers) => ReplyBody::Message(Some(message), Some(trailers)),
        Reply::Stream(body) => ReplyBody::Stream(body),
        Reply::Failure { error, mut trailers, .. } => {
            write_status(&mut trailers, Some(&error), false);
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
            ReplyBody::Message(None, Some(trailers))
        }
    };
    if let Some(compression) = answer.compression {
        headers.insert(ENCODING, HeaderValue::from_static(compression.name()));
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match codec {
            Codec::Json => "application/connect+json",
            Codec::Added(added) => &added.content_types().connect_stream,
            _ => "application/connect+proto",
        }),
    );
    let mut response = Response::new(body.ending(LastMessage { write: end, base64: false }));
    *response.headers_mut() = headers;
    response
}

fn end(trailers: &HeaderMap) -> Bytes {
    framed(END, &end_of_stream(trailers))
}
