//! Headers by their names: what belongs to a hop, what proves who calls, and what is metadata.

/// What becomes of a header when a handler calls on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderKind {
    /// Belongs to one hop, to the protocol or to a browser: never goes on.
    Hop,
    /// Proves who is calling.
    Credential,
    /// Metadata of the call.
    Metadata,
}

/// True for a value that should not be read in a log.
pub(crate) fn is_secret(name: &str) -> bool {
    kind(name) == HeaderKind::Credential
        || matches!(name, "cookie" | "cookie2" | "set-cookie" | "proxy-authorization")
}

/// True for what HTTP/1.1 gives a meaning between two ends of a connection, so that a message with it changes what a server does.
pub(crate) fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "transfer-encoding"
    ) || name.starts_with("proxy-")
}

/// The kind of a header by its name, in lower case.
pub(super) fn kind(name: &str) -> HeaderKind {
    if is_of_connection(name) {
        return HeaderKind::Hop;
    }
    match name {
        "authorization" | "x-api-key" | "x-auth-token" | "x-access-token" | "api-key" => HeaderKind::Credential,
        // HTTP: conditions, ranges, caches and the way a request came.
        "age" | "alt-used" | "cache-control" | "date" | "early-data" | "forwarded" | "host" | "max-forwards" | "pragma"
        | "priority" | "range" | "via" | "warning" | "x-real-ip" | "x-request-start"
        // Browsers.
        | "cookie" | "cookie2" | "dnt" | "origin" | "referer" | "save-data" | "set-cookie" | "upgrade-insecure-requests"
        | "user-agent" | "x-csrf-token" | "x-requested-with" | "x-user-agent" | "x-xsrf-token"
        // gRPC-Web, go-micro, and what each hop says anew.
        | "local" | "micro-from-service" | "micro-refused" | "micro-span-id" | "micro-target" | "micro-target-at" | "micro-trace"
        | "micro-trace-id" | "remote" | "timeout" | "x-content-type" | "x-grpc-web"
        | "accept" | "content" => HeaderKind::Hop,
        _ if STARTS.iter().any(|start| name.starts_with(start)) => HeaderKind::Hop,
        _ => HeaderKind::Metadata,
    }
}

/// How names begin that are of a hop, of one message, of a protocol or of a browser.
const STARTS: [&str; 12] = [
    "accept-",
    "access-control-",
    "ce-",
    "connect-",
    "content-",
    "grpc-",
    "if-",
    "micro-dead-",
    "micro-retry-",
    "proxy-",
    "sec-",
    "x-forwarded-",
];
