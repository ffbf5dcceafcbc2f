//! go-micro's trace ids (wire reference 9.4): one trace id for the whole tree of calls, one span id for each, in
//! `micro-trace-id` and `micro-span-id`, or both in `micro-trace` between two ends that are ours. To go-micro, which makes UUIDs, they
//! are any text. Ours have the form of W3C's trace context, 32 and 16 hexadecimal digits: other tools can take them over, and
//! they are shorter in every call.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::transport::{TRACE, once};

pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("micro-trace-id");
pub(crate) const SPAN_ID: HeaderName = HeaderName::from_static("micro-span-id");
const LEGACY_ID: HeaderName = HeaderName::from_static("micro-id");

/// Place of one call in its trace.
#[derive(Debug, Clone)]
pub struct Trace {
    trace: Id,
    span: Id,
    parent: Option<HeaderValue>,
}

/// An id is only written out when it is read: those of most spans, which are leaves, never are.
#[derive(Debug, Clone)]
enum Id {
    /// 128 bits.
    Trace([u8; 16]),
    /// 64 bits.
    Span([u8; 8]),
    Given(HeaderValue),
}

impl Id {
    // All zeros are no id to W3C.

    fn trace() -> Self {
        Self::Trace(fastrand::u128(1..).to_ne_bytes())
    }

    fn span() -> Self {
        Self::Span(fastrand::u64(1..).to_ne_bytes())
    }

    fn header(&self) -> HeaderValue {
        match self {
            Self::Trace(id) => written(&hex::<16, 32>(id)),
            Self::Span(id) => written(&hex::<8, 16>(id)),
            Self::Given(value) => value.clone(),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.header().as_bytes()).into_owned()
    }
}

fn hex<const BYTES: usize, const DIGITS: usize>(id: &[u8; BYTES]) -> [u8; DIGITS] {
    const { assert!(DIGITS == 2 * BYTES, "two digits each") };
    let half = |n: usize| if n.is_multiple_of(2) { id[n / 2] >> 4 } else { id[n / 2] & 0xf };
    std::array::from_fn(|n| b"0123456789abcdef"[usize::from(half(n))])
}

/// Trace id and span id of a compact header.
fn parts(compact: &HeaderValue) -> Option<(HeaderValue, HeaderValue)> {
    let text = compact.as_bytes();
    let dash = text.iter().rposition(|byte| *byte == b'-')?;
    let (trace, span) = (&text[..dash], &text[dash + 1..]);
    let value = |id: &[u8]| HeaderValue::from_bytes(id).ok().filter(|id| !id.is_empty());
    Some((value(trace)?, value(span)?))
}

fn written(digits: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(digits).unwrap_or(HeaderValue::from_static(""))
}

impl Trace {
    /// A new trace with its first span.
    pub fn root() -> Self {
        Self { trace: Id::trace(), span: Id::span(), parent: None }
    }

    /// The span of an inbound call: in the caller's trace when the caller sent a trace id *and* a span id, as go-micro requires, or
    /// both in one header, else the root of a new one.
    pub(crate) fn inbound(headers: &HeaderMap) -> Self {
        let trace = headers.get(TRACE_ID).or_else(|| headers.get(LEGACY_ID));
        let ids = match (trace, headers.get(SPAN_ID)) {
            (Some(trace), Some(parent)) => Some((trace.clone(), parent.clone())),
            _ => headers.get(TRACE).and_then(parts),
        };
        ids.map_or_else(Self::root, |(trace, parent)| Self {
            trace: Id::Given(trace),
            span: Id::span(),
            parent: Some(parent),
        })
    }

    /// The span of a call made inside this one.
    pub fn child(&self) -> Self {
        Self { trace: self.trace.clone(), span: Id::span(), parent: Some(self.span.header()) }
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACE_ID, once(self.trace.header()));
        headers.insert(SPAN_ID, once(self.span.header()));
    }

    /// Writes both ids into one header.
    pub(crate) fn write_compact(&self, headers: &mut HeaderMap) {
        let value = match (&self.trace, &self.span) {
            (Id::Trace(trace), Id::Span(span)) => {
                let mut text = [b'-'; 49];
                text[..32].copy_from_slice(&hex::<16, 32>(trace));
                text[33..].copy_from_slice(&hex::<8, 16>(span));
                written(&text)
            }
            (trace, span) => {
                written(&[trace.header().as_bytes(), b"-", span.header().as_bytes()].concat())
            }
        };
        headers.insert(TRACE, once(value));
    }

    /// Id shared by every call of the tree.
    pub fn trace_id(&self) -> String {
        self.trace.text()
    }

    /// Id of this call.
    pub fn span_id(&self) -> String {
        self.span.text()
    }

    /// Id of the call this one is part of; `None` at the root.
    pub fn parent_id(&self) -> Option<&str> {
        self.parent.as_ref().and_then(|parent| parent.to_str().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_of(id: u64) -> String {
        String::from_utf8_lossy(&hex::<8, 16>(&id.to_be_bytes())).into_owned()
    }

    #[test]
    fn a_child_keeps_the_trace_and_names_its_parent() {
        let root = Trace::root();
        let child = root.child();
        assert_eq!(child.trace_id(), root.trace_id());
        assert_eq!(child.parent_id(), Some(root.span_id().as_str()));
        assert_ne!(child.span_id(), root.span_id());
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for (id, digits) in [(root.trace_id(), 32), (root.span_id(), 16), (child.span_id(), 16)] {
            assert!(id.len() == digits && hex(&id), "{id}");
        }
        assert_eq!(hex_of(0x0123_4567_89ab_cdef), "0123456789abcdef");
    }

    #[test]
    fn inbound_without_a_span_id_starts_a_new_trace() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACE_ID, HeaderValue::from_static("t"));
        assert_ne!(Trace::inbound(&headers).trace_id(), "t");
        headers.insert(SPAN_ID, HeaderValue::from_static("s"));
        let trace = Trace::inbound(&headers);
        assert_eq!((trace.trace_id().as_str(), trace.parent_id()), ("t", Some("s")));
        // What a handler of go-micro sent on does not count beside its own.
        headers.insert(TRACE, HeaderValue::from_static("other-span"));
        assert_eq!(Trace::inbound(&headers).trace_id(), "t");
        headers.remove(TRACE_ID);
        headers.insert(LEGACY_ID, HeaderValue::from_static("legacy"));
        assert_eq!(Trace::inbound(&headers).trace_id(), "legacy");
    }

    #[test]
    fn the_compact_header_tells_both_ids() {
        let mut headers = HeaderMap::new();
        for trace in [Trace::root(), Trace { trace: Id::Given(written(b"a-b-c")), ..Trace::root() }]
        {
            trace.write_compact(&mut headers);
            let sent = headers[TRACE].to_str().unwrap();
            assert_eq!(sent, format!("{}-{}", trace.trace_id(), trace.span_id()));
            let inbound = Trace::inbound(&headers);
            assert_eq!(inbound.trace_id(), trace.trace_id());
            assert_eq!(inbound.parent_id(), Some(trace.span_id().as_str()));
        }
        for wrong in ["", "-", "trace", "trace-", "-span"] {
            headers.insert(TRACE, HeaderValue::from_str(wrong).unwrap());
            assert_eq!(Trace::inbound(&headers).parent_id(), None, "{wrong}");
        }
    }
}
