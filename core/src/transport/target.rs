//! Which service a call is for. A crashed node stays in the registry for a while, and its address may belong to another service
//! by then: that one must not run the call.
//!
//! The path does not say it: callers put any name before the type, and foreign ones their package. So a caller that found the
//! node in the registry names the service in a header of its own. go-micro's handlers send the metadata of their caller on, that
//! header too, so a second one says for which hop the first is meant: the `:authority` of the request it was made for. A request in
//! the compact form was not sent on by go-micro, and does without.

use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::caller::is_compact;

/// The service that the caller looked up.
pub(crate) const TARGET: HeaderName = HeaderName::from_static("micro-target");
/// The authority of the request that [`TARGET`] was put on.
pub(crate) const TARGET_AT: HeaderName = HeaderName::from_static("micro-target-at");
/// Marks the answer of a server that did not run the call, because it is for another service.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("micro-refused");
pub(crate) const OTHER_SERVICE: HeaderValue = HeaderValue::from_static("other-service");

/// True for the names that are for a caller and its server alone.
pub(crate) fn is_of_hop(name: &str) -> bool {
    matches!(name, "micro-refused" | "micro-target" | "micro-target-at" | "micro-trace")
}

/// True when a request is certainly for another service than `own`.
pub(crate) fn is_for_another(own: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    match headers.get(TARGET) {
        Some(target) if target.as_bytes() != own.as_bytes() => {
            is_of_this_hop(uri, headers) && !is_named(own, uri.path())
        }
        _ => false,
    }
}

fn is_of_this_hop(uri: &Uri, headers: &HeaderMap) -> bool {
    let at = headers.get(TARGET_AT).map(HeaderValue::as_bytes);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match at {
        Some(at) => Some(at) == authority.or_else(|| headers.get(HOST).map(HeaderValue::as_bytes)),
        None => is_compact(headers),
    }
}

/// True for a path that begins with the name of the service, as those of callers who looked that one up do.
fn is_named(service: &str, path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_header_of_this_hop_that_names_another_service_counts() {
        for (target, at, path, another) in [
            (Some("staging"), Some("h:1"), "/staging.Greeter/Hello", true),
            (Some("staging"), Some("h:1"), "/helloworld.Greeter/Hello", true),
            (Some("prod"), Some("h:1"), "/prod.Greeter/Hello", false),
            // Another hop's, sent on by a handler that sends everything on.
            (Some("staging"), Some("h:2"), "/helloworld.Greeter/Hello", false),
            (Some("staging"), Some("h:1"), "/prod.Greeter/Hello", false),
            (Some("staging"), None, "/staging.Greeter/Hello", false),
            // A caller that did not look it up.
            (None, None, "/staging.Greeter/Hello", false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(TARGET, target), (TARGET_AT, at)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let uri: Uri = format!("http://h:1{path}").parse().expect("a URI");
            assert_eq!(is_for_another("prod", &uri, &headers), another, "{headers:?} {path}");
            headers.insert(HOST, HeaderValue::from_static("h:1"));
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(is_for_another("prod", &uri, &headers), another, "HTTP/1: {headers:?}");
        }
    }
}
