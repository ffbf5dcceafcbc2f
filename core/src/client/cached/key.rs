//! What makes two calls equal.

use http::header::HeaderMap;

use crate::client::heads::NAMESPACE;
use crate::client::layers::Request;
use crate::client::options::CallOptions;
use crate::forward::forward;
use crate::server::Body;

/// Names that differ in every call and say nothing of what is asked, or by whom.
const OF_ONE_CALL: [&str; 8] = [
    "b3",
    "micro-id",
    "micro-span-id",
    "micro-trace",
    "micro-trace-id",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// All that an answer may depend on: what is asked, and what is sent along, the caller's credentials among it. It is compared in
/// full.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::client) struct Key {
    pub(super) service: Box<str>,
    pub(super) endpoint: Box<str>,
    rest: Box<[u8]>,
}

impl Key {
    /// The key of a call on top of the options of its client; `None` for a stream of requests.
    pub(super) fn of(request: &Request, usual: &CallOptions) -> Option<Self> {
        let Body::Message(message) = &request.body else { return None };
        let own = &request.options;
        let mut sent = own.metadata.headers().clone();
        if let Some(context) = request.context() {
            let found = usual.addresses.is_empty() && own.addresses.is_empty();
            let rule = own.forward.as_deref().or(usual.forward.as_deref());
            let inbound = context.metadata().headers();
            forward(inbound, &mut sent, rule, found);
            if let Some(namespace) = inbound.get(NAMESPACE) {
                sent.entry(NAMESPACE).or_insert_with(|| namespace.clone());
            }
        }
        let mut rest = Vec::with_capacity(message.len() + 64);
        put(&mut rest, request.codec().grpc_content_type().as_bytes());
        put(&mut rest, request.target.path.as_str().as_bytes());
        put(&mut rest, message);
        put_headers(&mut rest, &sent);
        // Where it goes: another version answers otherwise.
        put(&mut rest, format!("{:?}{:?}{:?}", own.addresses, own.filters, own.key).as_bytes());
        let (service, endpoint) = (request.service().into(), request.endpoint().into());
        Some(Self { service, endpoint, rest: rest.into() })
    }

    pub(super) fn len(&self) -> usize {
        self.service.len() + self.endpoint.len() + self.rest.len()
    }

    /// 16 hexadecimal digits that name it: FNV-1, as go-micro's. Different keys may have the same.
    pub(super) fn name(&self) -> String {
        let parts = [self.service.as_bytes(), self.endpoint.as_bytes(), &self.rest];
        let hash = parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(*byte)
        });
        format!("{hash:016x}")
    }
}

/// With its length before it, so that no two lists of parts are the same bytes.
fn put(rest: &mut Vec<u8>, part: &[u8]) {
    rest.extend_from_slice(&(part.len() as u64).to_be_bytes());
    rest.extend_from_slice(part);
}

/// By name, because maps have no order of their own.
fn put_headers(rest: &mut Vec<u8>, headers: &HeaderMap) {
    let is_of_one_call = |name: &str| OF_ONE_CALL.contains(&name) || name.starts_with("x-b3-");
    let mut names: Vec<_> = headers.keys().filter(|name| !is_of_one_call(name.as_str())).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for name in names {
        for value in headers.get_all(name) {
            put(rest, name.as_str().as_bytes());
            put(rest, value.as_bytes());
        }
    }
}
