//! Which web pages of other origins may call (CORS): none, unless the service says so.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Response, StatusCode};

/// How long a browser may remember what it was told, in seconds: two hours, the most Chrome takes.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// The origins that may call.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// Such as `https://app.example`, or `*` for any.
    origins: Vec<String>,
}

/// That an origin may call.
pub(super) struct Permission {
    origin: HeaderValue,
}

impl Cors {
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// The permission of the page that sends these headers; `None` when it needs or has none.
    pub(super) fn permit(&self, headers: &HeaderMap) -> Option<Permission> {
        let origin = headers.get(ORIGIN)?;
        self.origins
            .iter()
            .any(|known| known == "*" || known.as_bytes() == origin.as_bytes())
            .then(|| Permission { origin: origin.clone() })
    }
}

impl Permission {
    /// The answer to a browser that asks beforehand; it has no body.
    pub(super) fn preflight(&self, headers: &HeaderMap) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        self.write(answer);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        // Any header may be metadata.
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        response
    }

    /// Lets the page read an answer with all its headers.
    pub(super) fn expose(&self, headers: &mut HeaderMap) {
        let names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        let names = HeaderValue::try_from(names.join(", "));
        self.write(headers);
        if let Ok(names) = names {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}
