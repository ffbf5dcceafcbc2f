use super::frame::{PADDED, PRIORITY};
use super::hpack::{MARKS, huffman};
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Reads whatever it is given in pieces of one size.
struct Pieces(Vec<u8>, usize);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.0.len().min(self.1).min(buffer.remaining());
        buffer.put_slice(&self.0.drain(..length).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

async fn relaxed(wire: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = Relaxed::new(Pieces(wire.to_vec(), piece));
    reader.read_to_end(&mut out).await.expect("reads");
    out
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, 1];
    out.extend_from_slice(payload);
    out
}

fn literal(name: &[u8], coded: bool, value: &[u8]) -> Vec<u8> {
    let mut out = vec![0x40, name.len() as u8 | if coded { 0x80 } else { 0 }];
    out.extend_from_slice(name);
    out.push(value.len() as u8);
    out.extend_from_slice(value);
    out
}

fn renamed_literal(name: &str, value: &[u8]) -> Vec<u8> {
    literal(format!("~{}", &name[1..]).as_bytes(), false, value)
}

/// A field every go-micro client sends.
fn mark() -> Vec<u8> {
    literal(&huffman("x-content-type"), true, b"application/grpc+proto")
}

/// POST, go-micro's mark, a content-length by static index, `connection` plain and coded, and `tenant`.
fn block() -> (Vec<u8>, Vec<u8>) {
    let before = [
        vec![0x83],
        mark(),
        vec![0x5c, 2, b'1', b'5'],
        literal(b"connection", false, b"close"),
        literal(&huffman("keep-alive"), true, b"5"),
        literal(b"tenant", false, b"blue"),
        vec![0xbe],
    ]
    .concat();
    let after = [
        vec![0x83],
        mark(),
        renamed_literal("content-length", b"15"),
        renamed_literal("connection", b"close"),
        renamed_literal("keep-alive", b"5"),
        literal(b"tenant", false, b"blue"),
        vec![0xbe],
    ]
    .concat();
    (before, after)
}

#[tokio::test]
async fn names_are_renamed_however_the_bytes_are_cut() {
    let (before, after) = block();
    let data = frame(0, 0, &[0; 300]);
    let wire = [PREFACE, &frame(4, 0, &[]), &frame(HEADERS, END_HEADERS, &before), &data].concat();
    let expected =
        [PREFACE, &frame(4, 0, &[]), &frame(HEADERS, END_HEADERS, &after), &data].concat();
    for piece in 1..=wire.len() {
        assert_eq!(relaxed(&wire, piece).await, expected, "pieces of {piece}");
    }
}

#[tokio::test]
async fn beginning_is_the_preface_or_what_is_none() {
    for (wire, more) in
        [(&[PREFACE, b"\0\0"].concat()[..], true), (b"GET / ", true), (b"PRI", false)]
    {
        let (mut peer, own) = tokio::io::duplex(64);
        peer.write_all(wire).await.expect("room");
        let mut reader = Relaxed::new(own);
        assert_eq!(futures_util::poll!(Box::pin(reader.begin())).is_ready(), more, "{wire:?}");
        drop(peer);
        reader.begin().await.expect("begins, or the peer has left");
        let mut out = Vec::new();
        reader.read_to_end(&mut out).await.expect("reads");
        assert_eq!(out, wire, "nothing is lost");
    }
}

#[tokio::test]
async fn block_of_endless_frames_is_left_to_h2() {
    let empty = frame(CONTINUATION, 0, &[]).repeat(2_000);
    let wire = [PREFACE, &frame(HEADERS, 0, &[0x83]), &empty].concat();
    let mut reader = Relaxed::new(Pieces(wire.clone(), 1024));
    let mut out = Vec::new();
    while reader.read_buf(&mut out).await.expect("reads") > 0 {
        assert!(reader.held.len() <= 2048, "{} bytes held", reader.held.len());
    }
    assert_eq!(out, wire);
}

#[tokio::test]
async fn padding_goes_priority_stays_and_continuations_are_joined() {
    let (before, after) = block();
    let (head, tail) = before.split_at(9);
    let padded = [&[3u8][..], &[0, 0, 0, 0, 9], head, &[0, 0, 0]].concat();
    let wire = [
        PREFACE,
        &frame(HEADERS, PADDED | PRIORITY, &padded),
        &frame(CONTINUATION, END_HEADERS, tail),
    ]
    .concat();
    let joined = [&[0, 0, 0, 0, 9], &after[..]].concat();
    let expected = [PREFACE, &frame(HEADERS, PRIORITY | END_HEADERS, &joined)].concat();
    for piece in [1, 7, wire.len()] {
        assert_eq!(relaxed(&wire, piece).await, expected);
    }
}

#[tokio::test]
async fn peer_that_is_no_go_micro_client_is_left_to_h2() {
    let forbidden = literal(b"connection", false, b"close");
    let (head, tail) = forbidden.split_at(5);
    let plain = [
        PREFACE,
        &frame(HEADERS, END_HEADERS, &forbidden),
        &frame(HEADERS, 0, head),
        &frame(CONTINUATION, END_HEADERS, tail),
    ]
    .concat();
    // The mark may come after the name it allows, and once is enough for the connection.
    let marked = frame(HEADERS, END_HEADERS, &[forbidden.clone(), mark()].concat());
    let renamed = renamed_literal("connection", b"close");
    let allowed = frame(HEADERS, END_HEADERS, &[renamed.clone(), mark()].concat());
    let wire = [&plain[..], &marked, &frame(HEADERS, END_HEADERS, &forbidden)].concat();
    let expected = [&plain[..], &allowed, &frame(HEADERS, END_HEADERS, &renamed)].concat();
    for piece in [1, 7, wire.len()] {
        assert_eq!(relaxed(&wire, piece).await, expected, "pieces of {piece}");
    }
}

#[tokio::test]
async fn harmless_bytes_pass_unchanged() {
    let harmless = [vec![0x83], literal(b"content-lengths", false, b"15")].concat();
    let http2 = [PREFACE, &frame(HEADERS, END_HEADERS, &harmless)].concat();
    let orphan = [PREFACE, &frame(CONTINUATION, END_HEADERS, &harmless), &[1, 2, 3]].concat();
    for wire in [&http2[..], &orphan, b"GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"PRI * HT"] {
        for piece in [1, 5, wire.len()] {
            assert_eq!(relaxed(wire, piece).await, wire);
        }
    }
}

#[test]
fn huffman_code_is_that_of_the_rfc() {
    // RFC 7541, C.4.2 and C.6.1 hold no name of ours; `no-cache` shares most of its letters.
    assert_eq!(huffman("no-cache"), [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]);
    assert!(NAMES.iter().all(|(name, _)| !huffman(name).is_empty()));
    assert!(MARKS.iter().all(|name| !huffman(name).is_empty()));
}

proptest::proptest! {
    #[test]
    fn arbitrary_frames_never_panic_and_lose_nothing_without_such_names(
        frames in proptest::collection::vec(
            (0u8..10, proptest::prelude::any::<u8>(), proptest::collection::vec(0x80u8..0x9b, 0..40)), 0..8),
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8),
        piece in 1usize..64,
    ) {
        let mut wire = PREFACE.to_vec();
        for (kind, flags, payload) in frames {
            // Only fields by index, none of a refused name; blocks are whole and unpadded.
            let flags = if kind == HEADERS { END_HEADERS } else { flags };
            wire.extend(frame(if kind == CONTINUATION { 0 } else { kind }, flags, &payload));
        }
        wire.extend(tail);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        proptest::prop_assert_eq!(runtime.block_on(relaxed(&wire, piece)), wire);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        piece in 1usize..64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(relaxed(&[PREFACE, &bytes].concat(), piece));
    }
}
