//! What a peer says first on a connection: its SETTINGS. `h2` reads them too, but does not tell the one that bounds the
//! headers of a call, so it is read off the wire on its way there.

use http::HeaderMap;
use http::uri::{Authority, PathAndQuery};
use tokio::sync::oneshot;

use crate::error::Error;

/// Bytes of the head of a frame.
const HEAD: usize = 9;
/// Kind of the frame that holds settings.
pub(super) const SETTINGS: u8 = 4;
/// Flag of the frame that only acknowledges them.
pub(super) const ACK: u8 = 1;
/// Longest SETTINGS that are looked at: a hundred of them.
pub(super) const MAX_SETTINGS: usize = 600;
/// Number of the setting that bounds the headers of a call.
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// What the headers of a peer that names no bound may take: grpc-go's own.
pub(super) const UNSAID: u32 = 16 * 1024 * 1024;

/// The bound on headers in the payload of a SETTINGS frame, if it names one.
pub(super) fn max_headers(settings: &[u8]) -> Option<u32> {
    let (entries, _) = settings.as_chunks::<6>();
    // Of a setting that is named twice, the last counts.
    entries
        .iter()
        .rfind(|entry| u16::from_be_bytes([entry[0], entry[1]]) == MAX_HEADER_LIST_SIZE)
        .map(|&[_, _, a, b, c, d]| u32::from_be_bytes([a, b, c, d]))
}

/// Waits for the first frame of a server, byte by byte if need be.
pub(super) struct Greeting {
    held: Vec<u8>,
    told: Option<oneshot::Sender<u32>>,
}

impl Greeting {
    /// And where the bound on headers is told, once the frame has come.
    pub(super) fn new() -> (Self, oneshot::Receiver<u32>) {
        let (told, heard) = oneshot::channel();
        (Self { held: Vec::new(), told: Some(told) }, heard)
    }

    /// Takes what came in. Costs nothing once the peer has greeted.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if self.told.is_some() {
            self.look(bytes);
        }
    }

    #[cold]
    fn look(&mut self, bytes: &[u8]) {
        let room = (HEAD + MAX_SETTINGS).saturating_sub(self.held.len());
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let [a, b, c, kind, ..] = self.held[..] else { return };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let bound = if kind != SETTINGS || length > MAX_SETTINGS {
            // For `h2` to judge.
            None
        } else if let Some(settings) = self.held.get(HEAD..HEAD + length) {
            max_headers(settings)
        } else {
            return;
        };
        self.held = Vec::new();
        if let Some(told) = self.told.take() {
            // The caller may have given up.
            let _ = told.send(bound.unwrap_or(UNSAID));
        }
    }
}

/// What headers count as towards the bound (RFC 9113 6.5.2).
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| field(name.as_str().len(), value.len())).sum()
}

/// What the fields of a request count that are no headers.
pub(super) fn size_of_request(path: &PathAndQuery, authority: &Authority) -> usize {
    field(":method".len(), "POST".len())
        + field(":scheme".len(), "https".len())
        + field(":path".len(), path.as_str().len())
        + field(":authority".len(), authority.as_str().len())
}

/// What an answer counts beside the metadata of its handler: `:status`, the content type, the encoding, the status.
pub(super) const ADDED_TO_ANSWER: usize = 256;

const fn field(name: usize, value: usize) -> usize {
    name + value + 32
}

/// The error for headers of `size` bytes that `peer` does not take. No other moment will change that, so it is not
/// tried again. gRPC calls everything that is too large `RESOURCE_EXHAUSTED`, be it told by the peer or found out before.
pub(super) fn too_large(what: &str, size: usize, peer: &str, limit: u32) -> Error {
    Error::resource_exhausted(format!(
        "{what} take {size} bytes as HTTP/2 counts them, and {peer} takes fewer than {limit}: put what is large into a message"
    ))
    .without_retry()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, settings: &[(u16, u32)]) -> Vec<u8> {
        let length = u8::try_from(settings.len() * 6).unwrap();
        let mut bytes = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        for (number, value) in settings {
            bytes.extend(number.to_be_bytes());
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn the_bound_is_heard_however_its_frame_is_cut() {
        let bytes = frame(SETTINGS, &[(3, 100), (6, 8_192), (4, 65_535)]);
        for cut in 0..bytes.len() {
            let (mut greeting, mut heard) = Greeting::new();
            greeting.read(&bytes[..cut]);
            assert!(heard.try_recv().is_err(), "{cut} bytes are not all");
            greeting.read(&bytes[cut..]);
            assert_eq!(heard.try_recv(), Ok(8_192));
        }
    }

    #[test]
    fn a_peer_that_names_no_bound_or_says_something_else_has_greeted() {
        for bytes in [frame(SETTINGS, &[(3, 100)]), frame(SETTINGS, &[]), frame(7, &[(6, 1)])] {
            let (mut greeting, mut heard) = Greeting::new();
            greeting.read(&bytes);
            assert_eq!(heard.try_recv(), Ok(UNSAID));
        }
        let (mut greeting, mut heard) = Greeting::new();
        greeting.read(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(heard.try_recv(), Ok(UNSAID));
    }
}
