//! Bytes under `-bin` names: gRPC sends them as base64.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use base64::{DecodeError, Engine as _, alphabet};

/// Base64 as other stacks write it: padded or not, perhaps with bits left over at the end.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const USUAL: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const OF_URLS: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
/// The values of a header that holds bytes. An empty one is no bytes; empty places in a list are nothing (RFC 9110, 5.6.1).
pub(super) fn decoded(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    parts(value).filter_map(|part| decode(part).ok())
}

pub(super) fn decoded_or_logged(name: &str, value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    parts(value).filter_map(move |part| match decode(part) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            // What a stranger sends may come often.
            tracing::debug!(metadata = name, %error, "a value under a -bin name is no base64 and is left out");
            None
        }
    })
}

fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let single = value.trim_ascii().is_empty();
    parts.filter(move |part| single || !part.is_empty())
}

/// Bytes out of base64 of either alphabet.
pub(crate) fn decode(part: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let of_urls = part.iter().any(|byte| matches!(byte, b'-' | b'_'));
    if of_urls { OF_URLS.decode(part) } else { USUAL.decode(part) }
}

/// Base64 that every peer reads.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}
