//! Targets that read what comes off a connection.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is how a target reports a finding")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::compression::Compression;
use super::frame::{FrameError, Frames};
use super::prefix::frame_into;
use super::relax::{Relaxed, is_whole};
use super::{read_status, write_status};
use crate::fuzzing::Input;

/// Largest message that framing accepts here.
const LIMIT: usize = 64 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Names that may come out with another first letter.
const RENAMED: [&str; 6] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
];

/// A body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn of(bytes: &[u8], size: usize) -> Self {
        Self(bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Every message of a body that arrives in pieces, and how it ended.
fn messages(
    wire: &[u8],
    piece: usize,
    compression: Option<Compression>,
) -> (Vec<Bytes>, Result<(), String>) {
    let mut frames = Frames::new(Pieces::of(wire, piece), compression, LIMIT);
    let mut messages = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match frames.poll_next(&mut cx) {
            Poll::Pending => panic!("a body that is there made framing wait"),
            Poll::Ready(Ok(None)) => return (messages, Ok(())),
            Poll::Ready(Err(FrameError::Message(error))) => {
                return (messages, Err(error.to_string()));
            }
            Poll::Ready(Err(FrameError::Body(never))) => match never {},
            Poll::Ready(Ok(Some(message))) => {
                assert!(message.len() <= LIMIT, "{} bytes came through", message.len());
                messages.push(message);
            }
        }
    }
}

/// Messages are those that were framed, however the bytes are cut; a limit holds.
pub(crate) fn framing(data: &[u8]) {
    let mut input = Input::new(data);
    let compression = match input.byte() % 3 {
        0 => None,
        1 => Some(Compression::Gzip),
        _ => Some(Compression::Zstd),
    };
    let piece = usize::from(input.byte()) + 1;
    if input.byte() & 1 == 0 {
        let wire = input.rest();
        assert_eq!(messages(wire, piece, compression), messages(wire, usize::MAX, compression));
        return;
    }
    let mut wire = BytesMut::new();
    let mut written = Vec::new();
    while !input.is_empty() {
        let message = input.slice();
        frame_into(&mut wire, message, compression).expect("a small message");
        written.push(Bytes::copy_from_slice(message));
    }
    assert_eq!(messages(&wire, piece, compression), (written, Ok(())));
}

/// A status in any headers; written anew, it says the same.
pub(crate) fn status(data: &[u8]) {
    const NAMES: [&str; 4] =
        ["grpc-status", "grpc-message", "grpc-status-details-bin", "micro-status-details-bin"];
    let mut input = Input::new(data);
    let mut headers = HeaderMap::new();
    for name in NAMES {
        let value = if name == NAMES[3] { input.rest() } else { input.slice() };
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let Some(error) = read_status(&headers) else { return };
    for micro in [true, false] {
        let mut written = HeaderMap::new();
        write_status(&mut written, Some(&error), micro);
        let again = read_status(&written).expect("a failure stays one");
        assert_eq!(again.code(), error.code(), "{error:?} became {again:?}");
        let size: usize =
            written.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size <= 8 * 1024, "a status of {size} bytes");
    }
}

/// What comes out of [`Relaxed`] when it is read in pieces.
fn relaxed(wire: &[u8], piece: usize) -> (Vec<u8>, bool) {
    struct Wire<'a>(&'a [u8], usize);

    impl tokio::io::AsyncRead for Wire<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let length = self.0.len().min(self.1).min(buffer.remaining());
            let (now, later) = self.0.split_at(length);
            buffer.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    let mut reader = Relaxed::new(Wire(wire, piece));
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut room = [0; 4096];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut reader).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
            Poll::Ready(Ok(())) => out.extend_from_slice(buffer.filled()),
            ended => panic!("bytes that are there: {ended:?}"),
        }
    }
    (out, reader.said().renamed())
}

/// Any bytes of a connection: how they are cut changes nothing, and without a name to change they
/// come through as they are.
pub(crate) fn http2(data: &[u8]) {
    let mut input = Input::new(data);
    let (piece, preface) = (usize::from(input.byte()) + 1, input.byte() & 7 != 0);
    let wire = if preface { [PREFACE, input.rest()].concat() } else { input.rest().to_vec() };
    let (whole, renamed) = relaxed(&wire, usize::MAX);
    assert_eq!(relaxed(&wire, piece), (whole.clone(), renamed), "pieces of {piece}");
    if !renamed {
        assert_eq!(whole, wire);
    }
}

/// Header blocks: what another decoder reads after the names were changed is what it reads before,
/// but for these names.
pub(crate) fn hpack(data: &[u8]) {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    let mut blocks: Vec<&[u8]> = Vec::new();
    while !input.is_empty() && blocks.len() < 8 {
        blocks.push(input.slice());
    }
    let mut wire = PREFACE.to_vec();
    for block in &blocks {
        let length = u8::try_from(block.len()).expect("a slice of one byte's length");
        wire.extend([0, 0, length, 1, 4, 0, 0, 0, 1]);
        wire.extend_from_slice(block);
    }
    let (out, _) = relaxed(&wire, piece);
    let changed = header_blocks(&out);
    assert_eq!(changed.len(), blocks.len(), "a block was lost");
    let (mut before, mut after) = (fluke_hpack::Decoder::new(), fluke_hpack::Decoder::new());
    for (block, changed) in blocks.iter().zip(&changed) {
        // A block that does not decode ends the connection, and nothing after it is read. The other
        // decoder panics where a field is cut.
        if !is_whole(block) {
            return;
        }
        let Ok(expected) = before.decode(block) else { return };
        let found = after.decode(changed).expect("a block that decodes still does");
        assert_eq!(found.len(), expected.len());
        for ((name, value), (known, meant)) in found.iter().zip(&expected) {
            assert_eq!(value, meant);
            let same =
                name == known || RENAMED.iter().any(|renamed| is_renamed(renamed, known, name));
            assert!(same, "{known:?} became {name:?}");
        }
    }
}

fn is_renamed(name: &str, before: &[u8], after: &[u8]) -> bool {
    before == name.as_bytes() && after.first() == Some(&b'~') && after[1..] == before[1..]
}

/// The header blocks of a connection, each in one frame or continued.
fn header_blocks(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &wire[PREFACE.len()..];
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    while let Some((head, body)) = rest.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, next) = body.split_at(length);
        match (head[3], blocks.last_mut()) {
            (9, Some(block)) => block.extend_from_slice(payload),
            _ => blocks.push(payload.to_vec()),
        }
        rest = next;
    }
    blocks
}
