//! What a call sends around its messages: all that go-micro needs, or the compact form where the registry shows the node to be ours.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::run::Run;
use crate::client::heads::{NAMESPACE, replace};
use crate::client::pool::Lease;
use crate::codec::Codec;
use crate::error::Result;
use crate::forward::forward;
use crate::telemetry::{SPAN_ID, TRACE_ID};
use crate::transport::{
    Compressor, TARGET, TARGET_AT, X_CONTENT_TYPE, remove_timeout, write_grpc_timeout,
    write_timeout,
};

impl Run {
    /// The headers of an attempt on a connection. Time goes by between attempts, so each has its own.
    pub(super) fn headers(&self, lease: &Lease) -> Result<HeaderMap> {
        let own = self.terms.metadata.headers();
        let compact = self.is_read_compact(own);
        let mut headers = self.client.0.heads.of(compact, self.unary()).clone();
        if self.codec != Codec::Proto {
            let content_type = HeaderValue::from_static(self.codec.grpc_content_type());
            headers.insert(CONTENT_TYPE, content_type.clone());
            if !compact {
                headers.insert(X_CONTENT_TYPE, content_type);
            }
        }
        Compressor::announce(&mut headers, self.terms.compression);
        // What is inherited fills the gaps; what the call was given comes before all else.
        if let Some(context) = &self.context {
            let inbound = context.metadata().headers();
            forward(inbound, &mut headers, self.terms.forward.as_deref(), self.is_registered());
            if let Some(namespace) = inbound.get(NAMESPACE) {
                headers.insert(NAMESPACE, namespace.clone());
            }
        }
        let named = self.target.named.as_ref().filter(|_| self.is_registered());
        if let Some(named) = named.or(self.terms.found_for.as_ref()) {
            headers.insert(TARGET, named.clone());
            if let Some(at) = lease.at().filter(|_| !compact) {
                headers.insert(TARGET_AT, at.clone());
            }
        } else if compact {
            headers.remove(TARGET);
        }
        match self.left() {
            Some(left) if compact => write_grpc_timeout(&mut headers, left),
            Some(left) => write_timeout(&mut headers, left),
            None => remove_timeout(&mut headers),
        }
        if compact {
            self.trace.write_compact(&mut headers);
        } else {
            self.trace.write(&mut headers);
        }
        replace(&mut headers, own)?;
        Ok(headers)
    }

    /// True when the registry shows that the node reads the compact form, and the call says nothing of its own that goes by another name there.
    fn is_read_compact(&self, own: &HeaderMap) -> bool {
        self.is_registered()
            && self.node.as_ref().is_some_and(|node| node.reads_compact())
            && !tells_trace(own)
    }
}

/// True for metadata with an id of a trace in it, under go-micro's names.
fn tells_trace(own: &HeaderMap) -> bool {
    !own.is_empty() && (own.contains_key(TRACE_ID) || own.contains_key(SPAN_ID))
}
