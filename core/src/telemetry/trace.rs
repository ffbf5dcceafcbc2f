//! go-micro's trace ids (wire reference 9.4): one trace id for the whole tree of calls, one span
//! id for each, both UUID text, in `micro-trace-id` and `micro-span-id`.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::transport::once;

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

/// An id is only written out when somebody reads it: most spans are leaves that nobody asks for.
#[derive(Debug, Clone)]
enum Id {
    Made(Uuid),
    Given(HeaderValue),
}

impl Id {
    fn random() -> Self {
        Self::Made(uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid())
    }

    fn header(&self) -> HeaderValue {
        match self {
            Self::Made(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                let text = id.hyphenated().encode_lower(&mut text);
                HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
            }
            Self::Given(value) => value.clone(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Made(id) => id.hyphenated().to_string(),
            Self::Given(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        }
    }
}

impl Trace {
    /// A new trace with its first span.
    pub fn root() -> Self {
        Self { trace: Id::random(), span: Id::random(), parent: None }
    }

    /// The span of an inbound call: in the caller's trace when the caller sent a trace id *and* a
    /// span id, as go-micro requires, else the root of a new one.
    pub(crate) fn inbound(headers: &HeaderMap) -> Self {
        let trace = headers.get(TRACE_ID).or_else(|| headers.get(LEGACY_ID));
        match (trace, headers.get(SPAN_ID)) {
            (Some(trace), Some(parent)) => Self {
                trace: Id::Given(trace.clone()),
                span: Id::random(),
                parent: Some(parent.clone()),
            },
            _ => Self::root(),
        }
    }

    /// The span of a call made inside this one.
    pub fn child(&self) -> Self {
        Self { trace: self.trace.clone(), span: Id::random(), parent: Some(self.span.header()) }
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACE_ID, once(self.trace.header()));
        headers.insert(SPAN_ID, once(self.span.header()));
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

    #[test]
    fn a_child_keeps_the_trace_and_names_its_parent() {
        let root = Trace::root();
        let child = root.child();
        assert_eq!(child.trace_id(), root.trace_id());
        assert_eq!(child.parent_id(), Some(root.span_id().as_str()));
        assert_ne!(child.span_id(), root.span_id());
        assert_eq!(Uuid::parse_str(&root.span_id()).map(|id| id.get_version_num()), Ok(4));
    }

    #[test]
    fn inbound_without_a_span_id_starts_a_new_trace() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACE_ID, HeaderValue::from_static("t"));
        assert_ne!(Trace::inbound(&headers).trace_id(), "t");
        headers.insert(SPAN_ID, HeaderValue::from_static("s"));
        let trace = Trace::inbound(&headers);
        assert_eq!((trace.trace_id().as_str(), trace.parent_id()), ("t", Some("s")));
        headers.remove(TRACE_ID);
        headers.insert(LEGACY_ID, HeaderValue::from_static("legacy"));
        assert_eq!(Trace::inbound(&headers).trace_id(), "legacy");
    }
}
