//! Lets requests through that carry HTTP/1 headers over HTTP/2.
//!
//! A go-micro v2 gateway forwards the `content-length` and `connection` headers of the HTTP request
//! it received as gRPC metadata (wire reference 1.9). grpc-go servers ignore them; the `h2` crate
//! resets the stream, and offers no switch. [`Relaxed`] sits between the socket and `h2` and renames
//! such headers inside the header block: the first letter becomes `~`, so every name keeps its
//! length, HPACK's dynamic table stays the same size on both ends, and nothing needs to be decoded
//! that is not a name written out in full. [`restore_names`] gives the handler the real names back.
//!
//! Bytes pass through untouched, and uncopied unless a header block was cut by the end of a read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use http::header::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// A larger header block is left to `h2`, whose own limits refuse it.
const MAX_BLOCK: usize = 64 * 1024;
/// Payload of the frames a rewritten block goes out in: the size every peer accepts.
const MAX_FRAME: usize = 16 * 1024;

/// Names `h2` refuses, with their place in HPACK's static table.
const NAMES: [(&str, Option<u64>); 6] = [
    ("content-length", Some(28)),
    ("transfer-encoding", Some(57)),
    ("connection", None),
    ("keep-alive", None),
    ("proxy-connection", None),
    ("upgrade", None),
];

/// The names as they appear on the wire in HPACK's Huffman code.
static HUFFMAN: LazyLock<[Vec<u8>; NAMES.len()]> =
    LazyLock::new(|| NAMES.map(|(name, _)| huffman(name)));

/// HPACK's code for the characters of [`NAMES`] (RFC 7541, appendix B).
fn huffman(name: &str) -> Vec<u8> {
    let (mut bits, mut held, mut out) = (0u64, 0, Vec::new());
    for byte in name.bytes() {
        let (code, length) = match byte {
            b'-' => (0x16, 6),
            b'a' => (0x3, 5),
            b'c' => (0x4, 5),
            b'd' => (0x24, 6),
            b'e' => (0x5, 5),
            b'f' => (0x25, 6),
            b'g' => (0x26, 6),
            b'h' => (0x27, 6),
            b'i' => (0x6, 5),
            b'k' => (0x75, 7),
            b'l' => (0x28, 6),
            b'n' => (0x2a, 6),
            b'o' => (0x7, 5),
            b'p' => (0x2b, 6),
            b'r' => (0x2c, 6),
            b's' => (0x8, 5),
            b't' => (0x9, 5),
            b'u' => (0x2d, 6),
            b'v' => (0x77, 7),
            b'x' => (0x79, 7),
            b'y' => (0x7a, 7),
            _ => return Vec::new(),
        };
        bits = bits << length | code;
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | (0xff >> held));
    }
    out
}

/// Gives headers that came through [`Relaxed`] their real names back.
pub(crate) fn restore_names(headers: &mut HeaderMap) {
    for (name, _) in NAMES {
        let renamed = format!("~{}", &name[1..]);
        if let Some(value) = headers.remove(renamed.as_str()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}

/// A connection on which HTTP/1 header names do no harm.
pub(crate) struct Relaxed<T> {
    inner: T,
    state: State,
    /// Bytes not yet understood: a frame head or a header block whose end is still missing.
    held: BytesMut,
    /// Bytes rewritten and ready for the reader.
    ready: BytesMut,
    /// Set once a name was renamed, so that other connections never look for such names.
    renamed: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of the connection preface have passed.
    Preface(usize),
    /// So many bytes of the current frame are still to pass.
    Frames(usize),
    /// Not HTTP/2, or broken: everything passes.
    Off,
}

impl<T> Relaxed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            state: State::Preface(0),
            held: BytesMut::new(),
            ready: BytesMut::new(),
            renamed: Arc::default(),
        }
    }

    /// True once a header on this connection was renamed.
    pub(crate) fn renamed(&self) -> Arc<AtomicBool> {
        self.renamed.clone()
    }

    /// How many leading bytes of `bytes` may pass as they are; the rest must be held.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Off => return bytes.len(),
                State::Preface(seen) => {
                    let length = (PREFACE.len() - seen).min(bytes.len() - at);
                    if bytes[at..at + length] != PREFACE[seen..seen + length] {
                        self.state = State::Off;
                        return bytes.len();
                    }
                    at += length;
                    self.state = if seen + length == PREFACE.len() {
                        State::Frames(0)
                    } else {
                        State::Preface(seen + length)
                    };
                }
                State::Frames(0) => {
                    let Some(head) = Head::read(&bytes[at..]) else { return at };
                    if head.kind != HEADERS && head.kind != CONTINUATION {
                        at += FRAME_HEAD;
                        self.state = State::Frames(head.length);
                        continue;
                    }
                    if head.length > MAX_BLOCK {
                        self.state = State::Off;
                        return bytes.len();
                    }
                    let end = at + FRAME_HEAD + head.length;
                    let whole = head.kind == HEADERS && head.flags & END_HEADERS != 0;
                    if !whole || end > bytes.len() {
                        return at;
                    }
                    let (_, block) = head.split(&bytes[at + FRAME_HEAD..end]);
                    if representations(block).any(|r| r.renamed.is_some()) {
                        return at;
                    }
                    at = end;
                }
                State::Frames(left) => {
                    let passed = left.min(bytes.len() - at);
                    at += passed;
                    self.state = State::Frames(left - passed);
                }
            }
        }
        at
    }

    /// Moves what is complete in `held` to `ready`, rewritten where needed.
    fn settle(&mut self) {
        loop {
            let held = self.held.split();
            let passed = self.scan(&held);
            self.held = held;
            self.ready.put(self.held.split_to(passed));
            let Some(mut assembled) = self.assemble() else { return };
            self.ready.put(assembled.split());
        }
    }

    /// The header block at the front of `held` with its names renamed, once all its frames are there.
    fn assemble(&mut self) -> Option<BytesMut> {
        let first = Head::read(&self.held)?;
        if first.kind != HEADERS || self.state != State::Frames(0) {
            // A CONTINUATION without HEADERS is for h2 to refuse.
            self.state = State::Off;
            return Some(self.held.split());
        }
        let mut block = BytesMut::new();
        let mut priority = Vec::new();
        let mut end = 0;
        loop {
            let head = Head::read(&self.held[end..])?;
            let continues = end > 0;
            let fits = block.len() + head.length <= MAX_BLOCK;
            if !fits || (continues && (head.kind != CONTINUATION || head.stream != first.stream)) {
                self.state = State::Off;
                return Some(self.held.split());
            }
            let from = end + FRAME_HEAD;
            end = from + head.length;
            let payload = self.held.get(from..end)?;
            if continues {
                block.extend_from_slice(payload);
            } else {
                let (fields, fragment) = head.split(payload);
                priority = fields.to_vec();
                block.extend_from_slice(fragment);
            }
            if head.flags & END_HEADERS != 0 {
                break;
            }
        }
        self.held.advance(end);
        let block = rename(&block, &self.renamed);
        Some(first.write(&priority, &block))
    }
}

/// The nine bytes before each frame.
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn read(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FRAME_HEAD {
            return None;
        }
        Some(Self {
            length: bytes.get_uint(3) as usize,
            kind: bytes.get_u8(),
            flags: bytes.get_u8(),
            stream: bytes.get_u32(),
        })
    }

    /// Priority fields and header block fragment of a HEADERS payload, without padding.
    fn split<'a>(&self, payload: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mut rest = payload;
        if self.flags & PADDED != 0 {
            let Some((padding, tail)) = rest.split_first() else { return (&[], &[]) };
            rest = tail.get(..tail.len().saturating_sub(usize::from(*padding))).unwrap_or(&[]);
        }
        if self.flags & PRIORITY != 0 {
            return rest.split_at_checked(5).unwrap_or((&[], &[]));
        }
        (&[], rest)
    }

    /// The block as one HEADERS frame and as many CONTINUATION frames as it takes.
    fn write(&self, priority: &[u8], block: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(block.len() + priority.len() + 4 * FRAME_HEAD);
        let first = block.len().min(MAX_FRAME - priority.len());
        let (head, mut rest) = block.split_at(first);
        let mut flags = self.flags & !(PADDED | END_HEADERS);
        if rest.is_empty() {
            flags |= END_HEADERS;
        }
        out.put_uint((priority.len() + head.len()) as u64, 3);
        out.put_u8(HEADERS);
        out.put_u8(flags);
        out.put_u32(self.stream);
        out.extend_from_slice(priority);
        out.extend_from_slice(head);
        while !rest.is_empty() {
            let (fragment, tail) = rest.split_at(rest.len().min(MAX_FRAME));
            out.put_uint(fragment.len() as u64, 3);
            out.put_u8(CONTINUATION);
            out.put_u8(if tail.is_empty() { END_HEADERS } else { 0 });
            out.put_u32(self.stream);
            out.extend_from_slice(fragment);
            rest = tail;
        }
        out
    }
}

/// One header field of a block, as far as it matters here.
struct Representation<'a> {
    /// All its bytes.
    bytes: &'a [u8],
    /// Index in [`NAMES`] when the field has one of these names, written out or by static index.
    renamed: Option<usize>,
    /// First byte without the index, which keeps the kind of literal.
    pattern: u8,
    /// The bytes after the name.
    value: &'a [u8],
}

/// The fields of a header block; ends early where the block is malformed.
fn representations(block: &[u8]) -> impl Iterator<Item = Representation<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let start = rest;
        let first = *rest.first()?;
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = integer(&mut rest, prefix)?;
        let mut named = NAMES.iter().position(|(_, place)| *place == Some(index));
        let mut value = rest;
        match prefix {
            // A whole static field: its value is empty.
            7 => value = &[0],
            // A change of the dynamic table's size.
            5 => named = None,
            _ => {
                if index == 0 {
                    let (coded, name) = string(&mut rest)?;
                    named = if coded {
                        HUFFMAN.iter().position(|known| known == name)
                    } else {
                        NAMES.iter().position(|(known, _)| known.as_bytes() == name)
                    };
                    value = rest;
                }
                string(&mut rest)?;
                value = &value[..value.len() - rest.len()];
            }
        }
        // An indexed field becomes a literal that enters no table.
        let pattern = match prefix {
            7 => 0x00,
            6 => 0x40,
            _ => first & 0xf0,
        };
        let bytes = &start[..start.len() - rest.len()];
        Some(Representation { bytes, renamed: named, pattern, value })
    })
}

/// HPACK's integer with a prefix of `prefix` bits.
fn integer(rest: &mut &[u8], prefix: u32) -> Option<u64> {
    let limit = (1u64 << prefix) - 1;
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    let mut value = u64::from(*first) & limit;
    if value < limit {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// HPACK's string: whether it is Huffman coded, and its bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let coded = rest.first()? & 0x80 != 0;
    let length = usize::try_from(integer(rest, 7)?).ok()?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some((coded, text))
}

/// The block with every name of [`NAMES`] renamed; what cannot be read stays as it is.
fn rename(block: &[u8], renamed: &AtomicBool) -> BytesMut {
    let mut out = BytesMut::with_capacity(block.len() + 64);
    let mut read = 0;
    for field in representations(block) {
        read += field.bytes.len();
        let Some(index) = field.renamed else {
            out.extend_from_slice(field.bytes);
            continue;
        };
        let name = NAMES[index].0;
        out.put_u8(field.pattern);
        out.put_u8(name.len() as u8);
        out.put_u8(b'~');
        out.extend_from_slice(&name.as_bytes()[1..]);
        out.extend_from_slice(field.value);
        renamed.store(true, Ordering::Relaxed);
    }
    out.extend_from_slice(&block[read..]);
    out
}

impl<T: AsyncRead + Unpin> AsyncRead for Relaxed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let length = this.ready.len().min(buffer.remaining());
                buffer.put_slice(&this.ready.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                let start = buffer.filled().len();
                ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
                if buffer.filled().len() == start {
                    return Poll::Ready(Ok(()));
                }
                let passed = this.scan(&buffer.filled()[start..]);
                this.held.extend_from_slice(&buffer.filled()[start + passed..]);
                buffer.set_filled(start + passed);
                if !this.held.is_empty() {
                    this.settle();
                }
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let read =
                    tokio_util::io::poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.held);
                if ready!(read)? == 0 {
                    // The peer stopped inside a frame; h2 sees the same.
                    this.state = State::Off;
                    this.ready = this.held.split();
                    if this.ready.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    continue;
                }
                this.settle();
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Relaxed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

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
        let mut out =
            vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, 1];
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

    /// POST, a content-length by static index, `connection` plain and coded, and `tenant`.
    fn block() -> (Vec<u8>, Vec<u8>) {
        let before = [
            vec![0x83, 0x5c, 2, b'1', b'5'],
            literal(b"connection", false, b"close"),
            literal(&huffman("keep-alive"), true, b"5"),
            literal(b"tenant", false, b"blue"),
            vec![0xbe],
        ]
        .concat();
        let after = [
            vec![0x83],
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
        let wire =
            [PREFACE, &frame(4, 0, &[]), &frame(HEADERS, END_HEADERS, &before), &data].concat();
        let expected =
            [PREFACE, &frame(4, 0, &[]), &frame(HEADERS, END_HEADERS, &after), &data].concat();
        for piece in 1..=wire.len() {
            assert_eq!(relaxed(&wire, piece).await, expected, "pieces of {piece}");
        }
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
    async fn harmless_bytes_pass_unchanged() {
        let harmless = [vec![0x83], literal(b"content-lengths", false, b"15")].concat();
        let http2 = [PREFACE, &frame(HEADERS, END_HEADERS, &harmless)].concat();
        let orphan = [PREFACE, &frame(CONTINUATION, END_HEADERS, &harmless), &[1, 2, 3]].concat();
        for wire in
            [&http2[..], &orphan, b"GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"PRI * HT"]
        {
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
}
