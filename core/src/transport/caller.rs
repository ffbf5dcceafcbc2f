//! What the headers of a request say of the program that sent it.
//!
//! Callers of go-micro, and this framework's to every node that may be go-micro's, name the content type twice. To a node that the
//! registry shows to be this framework's, a caller writes the *compact* form: [`TRACE`] carries both ids of the trace and says that
//! the caller is ours, so that nothing needs to be there for go-micro alone, or because every such caller would say it.

use http::header::{HeaderMap, HeaderName};

pub(crate) const X_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-content-type");
pub(crate) const FROM_SERVICE: HeaderName = HeaderName::from_static("micro-from-service");
/// Trace id and span id with `-` between them; the span id has none itself.
pub(crate) const TRACE: HeaderName = HeaderName::from_static("micro-trace");

/// True when the caller reads errors as go-micro writes them.
pub(crate) fn caller_is_micro(headers: &HeaderMap) -> bool {
    [X_CONTENT_TYPE, TRACE, FROM_SERVICE].iter().any(|name| headers.contains_key(name))
}

/// True for a request in the compact form. go-micro's handlers send the metadata of their caller on, [`TRACE`] too, but with a second
/// content type beside it.
pub(crate) fn is_compact(headers: &HeaderMap) -> bool {
    headers.contains_key(TRACE) && !headers.contains_key(X_CONTENT_TYPE)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn what_go_micro_sends_on_does_not_make_its_request_compact() {
        let mut headers = HeaderMap::new();
        assert!(!is_compact(&headers) && !caller_is_micro(&headers));
        headers.insert(TRACE, HeaderValue::from_static("t-s"));
        assert!(is_compact(&headers) && caller_is_micro(&headers));
        headers.insert(X_CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        assert!(!is_compact(&headers) && caller_is_micro(&headers));
    }
}
