//! Targets that need nothing but what is public: codecs, metadata, errors, URLs.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::Input;
use crate::codec::{Codec, Message, Side};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::proto::debug::StatsResponse;
use crate::proto::health::HealthCheckResponse;
use crate::proto::reflection::{ServerReflectionRequest, ServerReflectionResponse};
use crate::registry::mdns;
use crate::transport::{read_timeout, write_timeout};

/// A content type is refused, or names a codec whose own content type names it again.
pub(super) fn content_type(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(codec) = Codec::from_content_type(text) {
        let again = Codec::from_content_type(codec.grpc_content_type());
        assert_eq!(again.ok(), Some(codec), "{text:?}");
    }
}

/// An error in any text; written as go-micro writes it, it says the same when read again.
pub(super) fn error(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let first = Error::parse(&text);
    let again = Error::parse(&first.to_json());
    let said = |error: &Error| {
        let Error { .. } = error;
        [error.id().to_owned(), error.detail().to_owned(), error.status().to_owned()]
    };
    assert_eq!(said(&first), said(&again));
    assert_eq!((first.code(), first.http_code()), (again.code(), again.http_code()));
}

/// Names and values that metadata takes can be read back and sent; deadlines never grow.
pub(super) fn headers(data: &[u8]) {
    let mut input = Input::new(data);
    let mut metadata = Metadata::new();
    let mut headers = HeaderMap::new();
    while !input.is_empty() {
        let (name, value) = (input.slice(), input.slice());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
        let Ok(name) = str::from_utf8(name) else { continue };
        if metadata.insert_bin(name, value).is_ok() {
            assert_eq!(metadata.get_bin(name).as_deref(), Some(value).filter(|v| !v.is_empty()));
        }
        let Ok(value) = str::from_utf8(value) else { continue };
        if metadata.insert(name, value).is_ok() {
            assert_eq!(metadata.get(name), Some(value).filter(|v| !v.is_empty()), "{name}");
        }
    }
    for (name, value) in metadata.iter() {
        HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        HeaderValue::from_str(value).expect("a header value");
    }
    if let Some(left) = read_timeout(&headers) {
        let mut written = HeaderMap::new();
        write_timeout(&mut written, left);
        let read = read_timeout(&written).expect("what was just written");
        assert!(read <= left, "{left:?} became {read:?}");
        // Eight digits of the next coarser unit, a thousandfold, lose less than a 100 000th; and
        // go-micro's notation ends after 584 years.
        let left = left.min(Duration::from_nanos(u64::MAX));
        assert!(left - read <= left / 100_000, "{left:?} {read:?}");
    }
}

/// A registry's URL is refused with a reason, or its options say the same when checked again.
pub(super) fn registry_url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(url) = Url::parse(text) else { return };
    if let Err(error) = mdns::Options::from_url(&url) {
        assert!(!error.detail().is_empty());
    }
}

/// A message that can be read in one codec can be written in the others and read back the same.
pub(super) fn transcoding(data: &[u8]) {
    let mut input = Input::new(data);
    let codec = if input.byte() & 1 == 0 { Codec::Json } else { Codec::Proto };
    let kind = input.byte() % 4;
    let bytes = Bytes::copy_from_slice(input.rest());
    match kind {
        0 => transcode::<StatsResponse>(codec, bytes),
        1 => transcode::<HealthCheckResponse>(codec, bytes),
        2 => transcode::<ServerReflectionRequest>(codec, bytes),
        _ => transcode::<ServerReflectionResponse>(codec, bytes),
    }
}

fn transcode<T: Message + Clone + PartialEq + std::fmt::Debug>(codec: Codec, bytes: Bytes) {
    let Ok(first) = T::decode(codec, bytes) else { return };
    for side in [Side::Client, Side::Server] {
        for codec in [Codec::Proto, Codec::Json] {
            let written = first.clone().into_bytes(codec, side).expect("a message that was read");
            let again = T::decode(codec, written.clone());
            assert_eq!(again.as_ref(), Ok(&first), "{codec} of the {side:?}: {written:?}");
        }
    }
}
