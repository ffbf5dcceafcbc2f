//! gRPC-Web: gRPC for browsers, which can neither choose HTTP/2 frames nor read trailers.
//!
//! Head and messages are gRPC's. Trailers are the last message, and the `-text` variants have all of
//! the body in base64.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};

use super::grpc;
use super::upload::{Upload, gone};
use crate::codec::Added;
use crate::error::{Error, Result};
use crate::server::converse::{Layout, converse};
use crate::server::dispatch::{Dispatch, Peer};
use crate::server::reply::{LastMessage, ReplyBody, framed};
use crate::server::requests::Requests;
use crate::transport::{FrameError, Frames, Hold};

/// Marks the message that holds the trailers.
const TRAILERS: u8 = 0x80;

/// A variant of gRPC-Web, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    text: bool,
    /// The same call in gRPC.
    grpc: &'static str,
    /// Content type of the answer.
    web: &'static str,
}

impl Form {
    /// The variant of `application/grpc-web<rest>`.
    pub(super) fn of(rest: &str) -> Option<Self> {
        let (text, subtype) = match rest.strip_prefix("-text") {
            Some(subtype) => (true, subtype),
            None => (false, rest),
        };
        let (grpc, web) = match (subtype, text) {
            ("", false) => ("application/grpc", "application/grpc-web"),
            ("", true) => ("application/grpc", "application/grpc-web-text"),
            ("+proto", false) => ("application/grpc+proto", "application/grpc-web+proto"),
            ("+proto", true) => ("application/grpc+proto", "application/grpc-web-text+proto"),
            ("+json", false) => ("application/grpc+json", "application/grpc-web+json"),
            ("+json", true) => ("application/grpc+json", "application/grpc-web-text+json"),
            (added, text) => {
                let types = Added::named(added.strip_prefix('+')?)?.content_types();
                (&*types.grpc, if text { &*types.web_text } else { &*types.web })
            }
        };
        Some(Self { text, grpc, web })
    }
}

/// Answers a gRPC-Web call.
pub(super) async fn answer(
    dispatch: &Dispatch,
    parts: Parts,
    form: Form,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    let grpc_type = HeaderValue::from_static(form.grpc);
    let read = |headers: &mut HeaderMap| grpc::head(dispatch, &grpc_type, headers);
    let (path, limit) = (parts.uri.path(), dispatch.max_message);
    let share = peer.link.connection.share.clone();
    let answer = if form.text {
        let requests = |incoming| Frames::new(Text::new(body), incoming, limit).within(share);
        converse(path, parts.headers, peer, Layout::Framed, read, requests).await
    } else {
        let requests = |incoming| Frames::new(body, incoming, limit).within(share);
        converse(path, parts.headers, peer, Layout::Framed, read, requests).await
    };
    let (mut head, body) = grpc::write(answer, &grpc_type).into_parts();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.web));
    let body = match body {
        ReplyBody::Empty => ReplyBody::Empty,
        body => body.ending(LastMessage { write: trailer_block, base64: form.text }),
    };
    Response::from_parts(head, body)
}

/// Trailers as an HTTP/1 header block.
fn trailer_block(trailers: &HeaderMap) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in trailers {
        block.put(name.as_str().as_bytes());
        block.put(&b": "[..]);
        block.put(value.as_bytes());
        block.put(&b"\r\n"[..]);
    }
    framed(TRAILERS, &block)
}

/// A body in base64, as one text or as several that are padded each.
struct Text<B> {
    body: B,
    /// Up to three characters of a group of four that is not whole yet.
    rest: BytesMut,
}

impl<B> Text<B> {
    fn new(body: B) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    fn decode(&mut self, data: &[u8]) -> Result<Bytes, TextError> {
        self.rest.extend_from_slice(data);
        let whole = self.rest.len() / 4 * 4;
        let groups = self.rest.split_to(whole);
        let mut out = Vec::with_capacity(whole / 4 * 3);
        // Padding ends a text; the next one begins after it.
        let mut from = 0;
        for end in (4..=whole).step_by(4) {
            if groups[end - 1] == b'=' || end == whole {
                STANDARD_PAD_INDIFFERENT
                    .decode_vec(&groups[from..end], &mut out)
                    .map_err(|_| TextError::NotBase64)?;
                from = end;
            }
        }
        Ok(out.into())
    }
}

/// Why a body in base64 cannot be read.
#[derive(Debug)]
enum TextError {
    NotBase64,
    Body(hyper::Error),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("the body is not base64"),
            Self::Body(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TextError {}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Text<B> {
    type Data = Bytes;
    type Error = TextError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TextError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None if self.rest.is_empty() => None,
            None => {
                self.rest.clear();
                Some(Err(TextError::NotBase64))
            }
            Some(Err(error)) => Some(Err(TextError::Body(error))),
            Some(Ok(frame)) => Some(match frame.into_data() {
                Ok(data) => self.decode(&data).map(Frame::data),
                Err(trailers) => Ok(trailers),
            }),
        })
    }
}

impl Requests for Frames<Text<Upload>> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.poll_next(cx).map_err(|error| match error {
            FrameError::Message(error) => error,
            FrameError::Body(TextError::Body(error)) => gone(&error),
            FrameError::Body(error) => Error::invalid_argument(error.to_string()),
        })
    }

    fn received(&self) -> u64 {
        self.body().body.received()
    }

    fn is_partial(&self) -> bool {
        Frames::is_partial(self)
    }

    fn take_hold(&mut self) -> Option<Hold> {
        Frames::take_hold(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_any_pieces_and_with_padding_inside() {
        // "a", "bc" and "def", padded each.
        let text = b"YQ==YmM=ZGVm";
        for size in 1..=text.len() {
            let mut body = Text::new(());
            let mut out = Vec::new();
            for piece in text.chunks(size) {
                out.extend_from_slice(&body.decode(piece).expect("base64"));
            }
            assert_eq!((out.as_slice(), body.rest.len()), (&b"abcdef"[..], 0), "pieces of {size}");
        }
        assert!(Text::new(()).decode(b"Y!==").is_err());
    }

    #[test]
    fn variants_are_named_by_their_content_type() {
        assert_eq!(
            Form::of("-text").map(|form| (form.text, form.grpc)),
            Some((true, "application/grpc"))
        );
        assert_eq!(Form::of("+json").map(|form| form.web), Some("application/grpc-web+json"));
        assert_eq!(Form::of("+thrift"), None);
        assert_eq!(Form::of("site"), None);
    }
}
