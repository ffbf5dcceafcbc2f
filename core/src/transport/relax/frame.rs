//! Frames of HTTP/2, as far as headers are rewritten in them.

use bytes::{Buf, BufMut, BytesMut};

use crate::transport::greeting::{ACK, MAX_SETTINGS, SETTINGS};

pub(super) const FRAME_HEAD: usize = 9;
pub(super) const HEADERS: u8 = 1;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;
/// Payload of the frames a rewritten block goes out in: the size every peer accepts.
pub(super) const MAX_FRAME: usize = 16 * 1024;

/// The nine bytes before each frame.
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
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

    /// True for settings that say something, and are not so many that they are left to `h2`.
    pub(super) fn is_settings(&self) -> bool {
        self.kind == SETTINGS && self.flags & ACK == 0 && self.length <= MAX_SETTINGS
    }

    /// Priority fields and header block fragment of a HEADERS payload, without padding.
    pub(super) fn split<'a>(&self, payload: &'a [u8]) -> (&'a [u8], &'a [u8]) {
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
    pub(super) fn write(&self, priority: &[u8], block: &[u8]) -> BytesMut {
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
