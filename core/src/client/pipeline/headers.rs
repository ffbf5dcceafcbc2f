//! What a call sends around its messages.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};

use super::run::Run;
use crate::client::options::CallOptions;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::forward::forward;
use crate::telemetry::Trace;
use crate::transport::{Compressor, FROM_SERVICE, TARGET, remove_timeout, write_timeout};

const X_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-content-type");
const NAMESPACE: HeaderName = HeaderName::from_static("micro-namespace");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("micro/", env!("CARGO_PKG_VERSION")));
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

impl Run {
    /// The headers of an attempt. Time goes by between attempts, so each has its own.
    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let mut headers = self.client.0.heads[usize::from(!self.unary())].clone();
        if self.codec != Codec::Proto {
            let content_type = HeaderValue::from_static(self.codec.grpc_content_type());
            headers.insert(CONTENT_TYPE, content_type.clone());
            headers.insert(X_CONTENT_TYPE, content_type);
        }
        Compressor::announce(&mut headers, self.terms.compression);
        // What is inherited fills the gaps; what the call was given comes before all else.
        let own = self.terms.metadata.headers();
        if let Some(context) = &self.context {
            let inbound = context.metadata().headers();
            let found = self.terms.addresses.is_empty();
            forward(inbound, &mut headers, self.terms.forward.as_deref(), found);
            if let Some(namespace) = inbound.get(NAMESPACE) {
                headers.insert(NAMESPACE, namespace.clone());
            }
        }
        let named = self.target.named.as_ref().filter(|_| self.is_registered());
        if let Some(named) = named.or(self.terms.found_for.as_ref()) {
            headers.insert(TARGET, named.clone());
        }
        self.trace.write(&mut headers);
        match self.left() {
            Some(left) => write_timeout(&mut headers, left),
            None => remove_timeout(&mut headers),
        }
        replace(&mut headers, own)?;
        Ok(headers)
    }
}

/// The headers that are the same in every call of a client. Those that differ stand there too, so
/// that a call replaces a value and no map has to grow.
pub(in crate::client) fn head(
    name: &str,
    namespace: &str,
    options: &CallOptions,
    unary: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(24);
    let content_type = HeaderValue::from_static(Codec::Proto.grpc_content_type());
    headers.insert(CONTENT_TYPE, content_type.clone());
    headers.insert(TE, TRAILERS);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(X_CONTENT_TYPE, content_type);
    Compressor::accept(&mut headers);
    let named = |name: &str| HeaderValue::from_str(name).ok().filter(|v| !v.is_empty());
    if let Some(name) = named(name) {
        // The direct caller, not the first of the chain: edges would be wrong otherwise.
        headers.insert(FROM_SERVICE, name);
    }
    if let Some(namespace) = named(namespace).filter(|_| unary) {
        headers.insert(NAMESPACE, namespace);
    }
    write_timeout(&mut headers, Duration::ZERO);
    Trace::root().write(&mut headers);
    replace(&mut headers, options.metadata.headers())?;
    Ok(headers)
}

/// Puts headers in place of those of the same names.
fn replace(headers: &mut HeaderMap, own: &HeaderMap) -> Result<()> {
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
