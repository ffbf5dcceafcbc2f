//! gzip and zstd of single messages, with a bound on what comes out.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::caller::is_compact;
use crate::error::{Error, Result};

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Binary logarithm of the memory that a zstd message may ask for before its first byte: 8 MiB, the
/// bound of RFC 9659. The library's own is 128 MiB, which a message of ten bytes can ask for.
const ZSTD_WINDOW: u32 = 23;

/// Bytes that a byte of gzip can inflate to: DEFLATE's longest match, told in two bits.
const GZIP_MOST: usize = 1032;

/// How messages are compressed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// gzip, understood by every gRPC implementation.
    Gzip,
    /// Zstandard: faster and smaller, for peers that know it.
    Zstd,
}

/// Reads and writes the headers that negotiate a [`Compression`].
pub(crate) struct Compressor;

impl Compressor {
    /// What this side can read, for `grpc-accept-encoding`.
    pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

    /// Names the compression of the messages that follow.
    pub(crate) fn announce(headers: &mut HeaderMap, compression: Option<Compression>) {
        if let Some(compression) = compression {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static(compression.name()));
        }
    }

    pub(crate) fn accept(headers: &mut HeaderMap) {
        headers.insert(GRPC_ACCEPT_ENCODING, Self::ACCEPTED);
    }

    /// Compression of the messages that follow these headers; `None` is none.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` for one this side does not know.
    pub(crate) fn incoming(headers: &HeaderMap) -> Result<Option<Compression>> {
        Compression::named(headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes))
    }

    /// True when the peer said it can read `compression`, or is one of ours and said nothing: then it reads what we do.
    pub(crate) fn peer_reads(headers: &HeaderMap, compression: Compression) -> bool {
        match headers.get(GRPC_ACCEPT_ENCODING) {
            None => is_compact(headers),
            accepted => compression.is_in(accepted),
        }
    }
}

impl Compression {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// As a byte that is not zero, for atomics.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    /// Whence [`Compression::to_byte`] came; `None` for any other.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|known| known.to_byte() == byte)
    }

    /// The compression of that name; `None` is none.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` for one this side does not know.
    pub(crate) fn named(name: Option<&[u8]>) -> Result<Option<Self>> {
        match name {
            None | Some(b"identity" | b"") => Ok(None),
            Some(b"gzip") => Ok(Some(Self::Gzip)),
            Some(b"zstd") => Ok(Some(Self::Zstd)),
            Some(other) => Err(Error::unimplemented(format!(
                "encoding `{}` is not supported: send identity, gzip or zstd",
                String::from_utf8_lossy(other)
            ))),
        }
    }

    /// True when a list such as `gzip;q=0.5, zstd` names it, other than to rule it out.
    pub(crate) fn is_in(self, accepted: Option<&HeaderValue>) -> bool {
        let Some(accepted) = accepted.and_then(|value| value.to_str().ok()) else { return false };
        accepted.split(',').any(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = weight.trim().strip_prefix("q=").map(str::trim);
            name.trim() == self.name() && weight.and_then(|q| q.parse().ok()) != Some(0.0)
        })
    }

    pub(crate) fn compress(self, message: &[u8]) -> Result<Bytes> {
        let out = BytesMut::with_capacity(message.len() / 2 + 64).writer();
        let written = match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                encoder.write_all(message).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::stream::Encoder::new(out, 1).and_then(|mut encoder| {
                encoder.write_all(message)?;
                encoder.finish()
            }),
        };
        written
            .map(|writer| writer.into_inner().freeze())
            .map_err(|e| Error::internal(format!("cannot compress the message: {e}")))
    }

    /// Bytes that [`Compression::decompress`] may put out at most.
    pub(crate) fn most(self, message: &[u8], limit: usize) -> usize {
        match self {
            Self::Gzip => message.len().saturating_mul(GZIP_MOST).min(limit),
            // A frame need not tell, and may be followed by another one.
            Self::Zstd => limit,
        }
    }

    /// At most `limit` bytes come out; a bomb is cut off there, not after it went off.
    pub(crate) fn decompress(self, message: &[u8], limit: usize) -> Result<Bytes> {
        let wrong = |e: std::io::Error| {
            Error::invalid_argument(format!("grpc: failed to decompress the received message: {e}"))
        };
        let mut out = Vec::new();
        let take = limit as u64 + 1;
        match self {
            Self::Gzip => {
                flate2::read::MultiGzDecoder::new(message).take(take).read_to_end(&mut out)
            }
            Self::Zstd => zstd::stream::Decoder::with_buffer(message).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                decoder.take(take).read_to_end(&mut out)
            }),
        }
        .map_err(wrong)?;
        if out.len() > limit {
            return Err(Error::resource_exhausted(format!(
                "message inflates to more than the limit of {limit} bytes: raise max_message_size or send less"
            )));
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn a_zstd_message_asks_for_eight_mebibytes_at_most() {
        // A frame of one empty block whose window is a power of two from 1 KiB up.
        let frame = |doublings: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, doublings << 3, 1, 0, 0];
        assert_eq!(Compression::Zstd.decompress(&frame(13), 10), Ok(Bytes::new()));
        let error = Compression::Zstd.decompress(&frame(14), 10).expect_err("16 MiB");
        assert_eq!(error.code(), Code::InvalidArgument);
    }

    #[test]
    fn messages_round_trip() -> Result<()> {
        let message = b"hello ".repeat(1000);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let small = compression.compress(&message)?;
            assert!(small.len() < message.len() / 10);
            assert_eq!(compression.decompress(&small, message.len())?, message);
        }
        Ok(())
    }

    #[test]
    fn a_list_names_a_compression_unless_it_rules_it_out() {
        for (list, named) in [
            ("gzip", true),
            ("identity, gzip", true),
            ("br, gzip;q=0.5", true),
            ("gzip; q=0", false),
            ("gzip;q=0.0,zstd", false),
            ("gzipped", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(list);
            assert_eq!(Compression::Gzip.is_in(Some(&value)), named, "{list:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() -> Result<()> {
        let bomb = vec![0; 64 << 20];
        for compression in [Compression::Gzip, Compression::Zstd] {
            let small = compression.compress(&bomb)?;
            assert!(small.len() < 1 << 20);
            let error = compression.decompress(&small, 4096).expect_err("inflates past the limit");
            assert_eq!(error.code(), Code::ResourceExhausted);
            assert!(compression.decompress(b"not compressed", 4096).is_err());
        }
        Ok(())
    }
}
