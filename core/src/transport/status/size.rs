//! What of a failure fits into one block of headers.
//!
//! gRPC's implementations bound the headers of a block as a whole, and a block past the bound takes the status with it: the
//! caller is told `RESOURCE_EXHAUSTED` and nothing of the failure. grpcio begins to refuse at 8 KiB, counting names, values
//! and 32 bytes for each. So a failure is cut until it fits in: its text first, then the details that were attached to it,
//! then the metadata around it, the largest first.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::names::is_status;

/// Bytes of a block that every peer reads.
const BLOCK: usize = 8 * 1024;
/// Bytes of it for what the protocol adds to a status: the HTTP status, content type, encodings, the time to stay away.
const PROTOCOL: usize = 512;
/// Bytes of it that a failure has in any case, whatever metadata is around it.
const STATUS: usize = 2 * 1024;
/// Bytes of go-micro's id, and of its status text.
const ID: usize = 128;
/// What HTTP/2 counts for a header beside its name and its value.
const ENTRY: usize = 32;

/// How much of a failure is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Bytes of the text, before anything is escaped.
    text: usize,
    /// Whether the details that were attached come along.
    pub(super) attached: bool,
}

/// What is tried, in order.
pub(super) const CUTS: [Cut; 9] = [
    Cut { text: 2048, attached: true },
    Cut { text: 1536, attached: true },
    Cut { text: 1024, attached: true },
    Cut { text: 512, attached: true },
    Cut { text: 2048, attached: false },
    Cut { text: 1536, attached: false },
    Cut { text: 1024, attached: false },
    Cut { text: 512, attached: false },
    Cut { text: 128, attached: false },
];

impl Cut {
    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        clip(text, self.text)
    }

    pub(super) fn id(self, id: &str) -> Cow<'_, str> {
        clip(id, ID)
    }
}

/// The beginning of a text, in whole characters.
fn clip(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

fn entry(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + ENTRY
}

/// Bytes of headers, as peers count them.
pub(super) fn of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| entry(name, value)).sum()
}

/// Bytes left for a status beside `headers`.
pub(super) fn room_in(headers: &HeaderMap) -> usize {
    (BLOCK - PROTOCOL).saturating_sub(of(headers))
}

/// Leaves out metadata that no status would fit beside, the largest first, and what is in a status's own place.
pub(super) fn make_room(headers: &mut HeaderMap) {
    if headers.is_empty() {
        return;
    }
    let stale: Vec<_> = headers.keys().filter(|name| is_status(name)).cloned().collect();
    for name in stale {
        headers.remove(name);
    }
    let mut left = room_in(headers);
    if left >= STATUS {
        return;
    }
    let bytes =
        |name: &HeaderName| headers.get_all(name).iter().map(|value| entry(name, value)).sum();
    let mut names: Vec<(usize, HeaderName)> =
        headers.keys().map(|name| (bytes(name), name.clone())).collect();
    names.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    // A block far past the bound has no room at all, so it is counted down.
    let mut size = of(headers);
    for (bytes, name) in names {
        if left >= STATUS {
            return;
        }
        headers.remove(&name);
        size -= bytes;
        left = (BLOCK - PROTOCOL).saturating_sub(size);
        tracing::warn!(
            metadata = name.as_str(),
            bytes,
            "metadata of a failure is left out: with it callers could not read the status, keep it under 5 KiB in all"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip("грунт", 3), "г…");
        assert_eq!(clip("😈😈", 7), "😈…");
    }

    #[test]
    fn metadata_is_left_out_from_the_largest_on_until_a_status_fits() {
        let mut headers = HeaderMap::new();
        for (name, length) in [("small", 10), ("large", 7000), ("larger", 9000)] {
            let value = HeaderValue::from_str(&"x".repeat(length)).expect("text");
            headers.insert(HeaderName::from_static(name), value);
        }
        make_room(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["small"]);
    }
}
