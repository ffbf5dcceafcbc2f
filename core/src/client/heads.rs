//! The headers that are the same in every call of a client, in both forms: all that go-micro needs, and the compact one.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};

use super::options::CallOptions;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::telemetry::Trace;
use crate::transport::{
    Compressor, FROM_SERVICE, TARGET, X_CONTENT_TYPE, write_grpc_timeout, write_timeout,
};

pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("micro-namespace");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("micro/", env!("CARGO_PKG_VERSION")));
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Namespace that go-micro's clients send unless told otherwise.
pub(super) const DEFAULT_NAMESPACE: &str = "go.micro";

/// The headers that are the same in every call of a client. Those that differ stand there too, so that a call replaces a value and
/// no map has to grow. Unary calls come first, then streams.
#[derive(Debug)]
pub(super) struct Heads {
    full: [HeaderMap; 2],
    compact: [HeaderMap; 2],
}

impl Heads {
    /// The headers of a client, named for what it belongs to.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for metadata of too many names.
    pub(super) fn new(name: &str, namespace: &str, options: &CallOptions) -> Result<Self> {
        let named = |name: &str| HeaderValue::from_str(name).ok().filter(|v| !v.is_empty());
        let (name, own) = (named(name), options.metadata.headers());
        let full = |unary| full(name.clone(), named(namespace).filter(|_| unary), own);
        // Absent, it means the default.
        let namespace = named(namespace).filter(|_| namespace != DEFAULT_NAMESPACE);
        let compact = |unary| compact(name.clone(), namespace.clone().filter(|_| unary), own);
        Ok(Self { full: [full(true)?, full(false)?], compact: [compact(true)?, compact(false)?] })
    }

    pub(super) fn of(&self, compact: bool, unary: bool) -> &HeaderMap {
        let heads = if compact { &self.compact } else { &self.full };
        &heads[usize::from(!unary)]
    }
}

fn full(
    name: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    own: &HeaderMap,
) -> Result<HeaderMap> {
    let mut headers = common(name, namespace);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(X_CONTENT_TYPE, HeaderValue::from_static(Codec::Proto.grpc_content_type()));
    Compressor::accept(&mut headers);
    write_timeout(&mut headers, Duration::ZERO);
    Trace::root().write(&mut headers);
    replace(&mut headers, own)?;
    Ok(headers)
}

fn compact(
    name: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    own: &HeaderMap,
) -> Result<HeaderMap> {
    let mut headers = common(name, namespace);
    headers.insert(TARGET, HeaderValue::from_static(""));
    write_grpc_timeout(&mut headers, Duration::ZERO);
    Trace::root().write_compact(&mut headers);
    replace(&mut headers, own)?;
    Ok(headers)
}

fn common(name: Option<HeaderValue>, namespace: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Codec::Proto.grpc_content_type()));
    headers.insert(TE, TRAILERS);
    if let Some(name) = name {
        // The direct caller, not the first of the chain: edges would be wrong otherwise.
        headers.insert(FROM_SERVICE, name);
    }
    if let Some(namespace) = namespace {
        headers.insert(NAMESPACE, namespace);
    }
    headers
}

/// Puts headers in place of those of the same names.
pub(super) fn replace(headers: &mut HeaderMap, own: &HeaderMap) -> Result<()> {
    for name in own.keys() {
        headers.remove(name);
        for value in own.get_all(name) {
            // What is inherited comes off the wire, and may have left no room.
            headers.try_append(name.clone(), value.clone()).map_err(|_| {
                Error::invalid_argument("metadata of more names than a header list can hold")
            })?;
        }
    }
    Ok(())
}
