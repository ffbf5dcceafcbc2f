//! Unary calls by GET, for endpoints that change nothing: a browser, a proxy or a CDN may keep the
//! answer if the handler lets it.

use std::borrow::Cow;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::head::codec;
use super::unary::{answer, failure, open, read_head};
use crate::error::{Error, Result};
use crate::server::dispatch::{Dispatch, Peer};
use crate::server::protocol::refusal::{refusal, unsupported};
use crate::server::query::{Query, pairs};
use crate::server::reply::ReplyBody;
use crate::server::requests::Requests;
use crate::transport::{Compression, Hold, Room};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// True when the query of a GET is a call.
pub(in crate::server::protocol) fn is_query(parts: &Parts) -> bool {
    parameter(parts, "encoding").is_some()
}

/// Answers a GET.
pub(in crate::server::protocol) async fn query(
    dispatch: &Dispatch,
    parts: Parts,
    peer: &Peer,
) -> Response<ReplyBody> {
    let path = parts.uri.path();
    if dispatch.find(path).is_ok_and(|endpoint| !endpoint.read_only) {
        let mut response = refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "this endpoint may change something: call it with POST",
        );
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let encoding = parameter(&parts, "encoding").unwrap_or_default();
    let Some(codec) = str::from_utf8(&encoding).ok().and_then(codec) else {
        return unsupported();
    };
    if parameter(&parts, "connect").is_some_and(|version| version.as_ref() != b"v1") {
        return failure(HeaderMap::new(), &Error::invalid_argument("connect must be v1"));
    }
    let packed = message(&parts);
    let named = parameter(&parts, "compression");
    let read = |headers: &mut HeaderMap| {
        let mut head = read_head(dispatch, codec, headers)?;
        head.incoming = Compression::named(named.as_deref())?;
        head.query = parts.uri.query().map(Query::new);
        Ok(head)
    };
    let limit = dispatch.max_message;
    let room = Room::new(peer.link.connection.share.clone());
    let requests = |compression| Once { message: Some(packed), compression, limit, room };
    let headers = parts.headers.clone();
    let (mut response, fine) = answer(path, codec, headers, peer, read, requests).await;
    if fine && !response.headers().contains_key(CACHE_CONTROL) {
        // Caches guess where nothing is said.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

fn message(parts: &Parts) -> Result<Bytes> {
    let text = parameter(parts, "message")
        .ok_or_else(|| Error::invalid_argument("the query has no `message`"))?;
    if parameter(parts, "base64").as_deref() != Some(b"1") {
        return Ok(text.into_owned().into());
    }
    let decoded = BASE64.decode(&text);
    decoded
        .map(Bytes::from)
        .map_err(|error| Error::invalid_argument(format!("`message` is not base64: {error}")))
}

/// The first value of a parameter of the query.
fn parameter<'a>(parts: &'a Parts, name: &str) -> Option<Cow<'a, [u8]>> {
    pairs(parts.uri.query()?).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A message that is here already, perhaps in its compression.
struct Once {
    message: Option<Result<Bytes>>,
    compression: Option<Compression>,
    limit: usize,
    room: Room,
}

impl Requests for Once {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let (Some(compression), Some(Ok(packed))) = (self.compression, &self.message) {
            ready!(self.room.poll_take(compression.most(packed, self.limit), cx))?;
        }
        let Some(packed) = self.message.take() else { return Poll::Ready(Ok(None)) };
        let message = open(packed?, self.compression, self.limit)?;
        self.room.settle(message.len());
        Poll::Ready(Ok(Some(message)))
    }

    fn take_hold(&mut self) -> Option<Hold> {
        self.room.take_hold()
    }
}
