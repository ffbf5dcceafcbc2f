//! What Connect says of a call in its head.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::codec::{Added, Codec};
use crate::error::{Error, Result};
use crate::server::dispatch::{Dispatch, Head};
use crate::transport::Compression;

const VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
/// Connect's longest timeout has so many digits.
const MAX_DIGITS: usize = 10;

/// The codec Connect calls `name`.
pub(in crate::server::protocol) fn codec(name: &str) -> Option<Codec> {
    match name {
        "json" => Some(Codec::Json),
        "proto" | "protobuf" => Some(Codec::Proto),
        added => Added::named(added).map(Codec::Added),
    }
}

/// What Connect says of a call in its head, taken out of it: the next hop is told anew.
pub(super) fn head(
    dispatch: &Dispatch,
    codec: Codec,
    headers: &mut HeaderMap,
    [encoding, accepted]: [&HeaderName; 2],
) -> Result<Head> {
    if headers.remove(VERSION).is_some_and(|version| version.as_bytes() != b"1") {
        return Err(Error::invalid_argument("connect-protocol-version must be 1"));
    }
    let timeout = headers.remove(TIMEOUT).map(|value| timeout(&value)).transpose()?;
    let incoming = headers.remove(encoding);
    let incoming = Compression::named(incoming.as_ref().map(HeaderValue::as_bytes))?;
    let accepted = headers.remove(accepted);
    let outgoing = dispatch.compression.filter(|c| c.is_in(accepted.as_ref()));
    Ok(Head { codec, incoming, outgoing, timeout, query: None })
}

fn timeout(value: &HeaderValue) -> Result<Duration> {
    value
        .to_str()
        .ok()
        .filter(|text| text.len() <= MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Error::invalid_argument("connect-timeout-ms must be a number of up to 10 digits")
        })
}
