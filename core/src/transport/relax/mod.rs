//! Lets requests through that carry HTTP/1 headers over HTTP/2.
//!
//! A go-micro v2 gateway forwards the `content-length` and `connection` headers of the HTTP request
//! it received as gRPC metadata (wire reference 1.9). grpc-go servers ignore them; the `h2` crate
//! resets the stream, and offers no switch. [`Relaxed`] sits between the socket and `h2` and renames
//! such headers inside the header block: the first letter becomes `~`, so every name keeps its
//! length, HPACK's dynamic table stays the same size on both ends, and nothing needs to be decoded
//! that is not a name written out in full. [`restore_names`] gives the handler the real names back.
//!
//! Only connections of go-micro clients are treated so; to any other peer HTTP/2's rules apply. Every
//! request of such a client carries a name that is go-micro's alone.
//!
//! Bytes pass through untouched, and uncopied unless a header block was cut by the end of a read.

mod frame;
mod hpack;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use http::header::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::greeting::{self, UNSAID, too_large};
use crate::error::Error;
use frame::{CONTINUATION, END_HEADERS, FRAME_HEAD, HEADERS, Head};
pub(crate) use hpack::warm_up;
use hpack::{NAMES, rename, representations};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How a request of HTTP/1.1 begins.
const METHODS: [&[u8]; 8] =
    [b"POST ", b"GET ", b"OPTIONS ", b"HEAD ", b"PUT ", b"PATCH ", b"DELETE ", b"TRACE "];
/// A larger header block is left to `h2`, whose own limits refuse it.
const MAX_BLOCK: usize = 64 * 1024;
/// So is a block in more frames, which could otherwise be empty and without end.
const MAX_FRAMES: usize = 16;
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
    /// The whole preface has passed.
    http2: bool,
    /// Bytes not yet understood: a frame head or a header block whose end is still missing.
    held: BytesMut,
    /// Bytes rewritten and ready for the reader.
    ready: BytesMut,
    /// Set once the peer was seen to be a go-micro client.
    micro: bool,
    said: Arc<Said>,
}

/// What was seen of the peer on its way to `h2`.
#[derive(Debug)]
pub(crate) struct Said {
    /// Set once a name was renamed, so that other connections never look for such names.
    renamed: AtomicBool,
    /// Bytes of headers it takes, by its SETTINGS.
    max_headers: AtomicU32,
}

impl Default for Said {
    fn default() -> Self {
        Self { renamed: AtomicBool::new(false), max_headers: AtomicU32::new(UNSAID) }
    }
}

impl Said {
    /// True once a header of this connection was renamed.
    pub(crate) fn renamed(&self) -> bool {
        self.renamed.load(Ordering::Relaxed)
    }

    /// Fails for metadata of an answer that the peer does not take. `what` it is.
    pub(crate) fn takes(&self, what: &str, metadata: &HeaderMap) -> Result<(), Error> {
        if metadata.is_empty() {
            return Ok(());
        }
        let limit = self.max_headers.load(Ordering::Relaxed);
        let size = greeting::size(metadata) + greeting::ADDED_TO_ANSWER;
        if size < limit as usize { Ok(()) } else { Err(too_large(what, size, "the caller", limit)) }
    }
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
            http2: false,
            held: BytesMut::new(),
            ready: BytesMut::new(),
            micro: false,
            said: Arc::default(),
        }
    }

    /// True when the peer began with the preface of HTTP/2, or with what is no HTTP/1.1 request
    /// either: the farewell is HTTP/2's then.
    pub(crate) fn is_http2(&self) -> bool {
        let starts = |method: &[u8]| {
            let length = method.len().min(self.ready.len());
            self.ready[..length] == method[..length]
        };
        self.http2 || !METHODS.into_iter().any(starts)
    }

    /// True while a frame head or a header block has begun that is not whole.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// True when the peer began with a TLS handshake.
    pub(crate) fn is_handshake(&self) -> bool {
        self.ready.starts_with(&[0x16, 0x03])
    }

    /// What is seen of the peer.
    pub(crate) fn said(&self) -> Arc<Said> {
        self.said.clone()
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
                    self.http2 = seen + length == PREFACE.len();
                    self.state =
                        if self.http2 { State::Frames(0) } else { State::Preface(seen + length) };
                }
                State::Frames(0) => {
                    let Some(head) = Head::read(&bytes[at..]) else { return at };
                    if head.is_settings() {
                        let end = at + FRAME_HEAD + head.length;
                        let Some(settings) = bytes.get(at + FRAME_HEAD..end) else { return at };
                        if let Some(bound) = greeting::max_headers(settings) {
                            self.said.max_headers.store(bound, Ordering::Relaxed);
                        }
                        at = end;
                        continue;
                    }
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
                    self.micro = self.micro || is_micro(block);
                    if self.micro && representations(block).any(|r| r.renamed.is_some()) {
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
        if first.is_settings() && self.state == State::Frames(0) {
            return None;
        }
        if first.kind != HEADERS || self.state != State::Frames(0) {
            // A CONTINUATION without HEADERS is for h2 to refuse.
            self.state = State::Off;
            return Some(self.held.split());
        }
        let mut block = BytesMut::new();
        let mut priority = Vec::new();
        let mut end = 0;
        for frames in 0.. {
            let head = Head::read(&self.held[end..])?;
            let continues = end > 0;
            let fits = block.len() + head.length <= MAX_BLOCK && frames < MAX_FRAMES;
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
        self.micro = self.micro || is_micro(&block);
        if !self.micro || representations(&block).all(|field| field.renamed.is_none()) {
            return Some(self.held.split_to(end));
        }
        self.held.advance(end);
        let block = rename(&block, &self.said.renamed);
        Some(first.write(&priority, &block))
    }
}

/// Whether a header block consists of whole fields.
#[cfg(any(test, fuzzing))]
pub(super) fn is_whole(block: &[u8]) -> bool {
    representations(block).map(|field| field.length()).sum::<usize>() == block.len()
}

/// Whether a header block comes from a go-micro client, as far as names written out tell.
fn is_micro(block: &[u8]) -> bool {
    representations(block).any(|field| field.is_mark())
}

impl<T: AsyncRead + Unpin> Relaxed<T> {
    /// Waits until the peer has begun: with the preface of HTTP/2, or with something else.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        while matches!(self.state, State::Preface(_)) {
            if self.inner.read_buf(&mut self.held).await? == 0 {
                self.state = State::Off;
            }
            self.settle();
        }
        Ok(())
    }
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
mod tests;
