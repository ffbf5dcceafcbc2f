//! Options of a client, which are those of the client of a service too.

use super::setting::{Form, Setting};
use crate::settings::range;

const fn of(key: &'static str, form: Form, default: &'static str, help: &'static str) -> Setting {
    Setting::new(key, form, default, help)
}

pub(super) const SETTINGS: &[Setting] = &[
    of(
        "client.name",
        Form::Ranged(&range::NAME),
        "the service's",
        "What calls say they come from.",
    ),
    of(
        "client.namespace",
        Form::Ranged(&range::NAMESPACE),
        "go.micro",
        "go-micro's namespace of unary calls.",
    ),
    of(
        "client.timeout",
        Form::Limit,
        "what is left to the call being served, else 5s; none for streams",
        "For a whole call, all attempts.",
    )
    .go_micro("client_request_timeout"),
    of("client.retries", Form::Number(&range::RETRIES), "2", "Attempts after the first.")
        .go_micro("client_retries"),
    of(
        "client.retry",
        Form::Choice(&["safe", "go_micro", "on_error", "always", "never"]),
        "safe",
        "What is tried again.",
    ),
    of(
        "client.backoff",
        Form::Choice(&["jittered", "go_micro", "none"]),
        "jittered",
        "How long to wait in between.",
    ),
    of(
        "client.strategy",
        Form::Choice(&["p2c", "random", "round_robin", "hash"]),
        "p2c",
        "How a node is chosen.",
    ),
    of("client.key", Form::Text("a text"), "none", "Calls with equal keys go to the same node."),
    of(
        "client.wait_for_ready",
        Form::Truth,
        "false",
        "Whether a call waits until its service has a node.",
    ),
    of(
        "client.idempotent",
        Form::Truth,
        "what the endpoint says",
        "Whether repeating a call is harmless.",
    ),
    of(
        "client.addresses",
        Form::List("`host:port`"),
        "none",
        "Nodes to call instead of asking the registry.",
    ),
    of(
        "client.filters",
        Form::Json("a list such as `[{\"version\": \"2\"}]`"),
        "none",
        "Conditions that a node must meet.",
    ),
    of(
        "client.metadata",
        Form::Labels,
        "none",
        "Header of every call, beside those of the program.",
    ),
    of(
        "client.content_type",
        Form::Text("a content type"),
        "by the type of the request",
        "How requests are encoded.",
    ),
    of(
        "client.compression",
        Form::Choice(&["gzip", "zstd", "none"]),
        "none",
        "How requests are sent.",
    ),
    of(
        "client.forward",
        Form::Json("`default`, `none`, or an object"),
        "default",
        "Which headers of the call being served go on.",
    ),
    of("client.detached", Form::Truth, "false", "Whether calls are part of no call being served.")
        .in_documents(),
    of(
        "client.dial_timeout",
        Form::Time(&range::DIAL_TIMEOUT),
        "5s",
        "How long making a connection may take.",
    ),
    of(
        "client.keepalive",
        Form::Time(&range::KEEPALIVE),
        "no probes",
        "How often connections with calls are probed.",
    ),
    of(
        "client.keepalive_timeout",
        Form::Time(&range::KEEPALIVE_TIMEOUT),
        "20s",
        "How long a probed connection may be silent.",
    ),
    of(
        "client.idle_timeout",
        Form::TimeOrNone(&range::IDLE_TIMEOUT),
        "300s",
        "How long a connection may be without calls.",
    ),
    of(
        "client.max_connections",
        Form::Number(&range::MAX_CONNECTIONS),
        "512",
        "Connections to all nodes together.",
    ),
    of(
        "client.calls_per_connection",
        Form::Number(&range::CALLS_PER_CONNECTION),
        "100",
        "Calls on each connection to a node before another one is made.",
    ),
    of(
        "client.max_connections_per_node",
        Form::Number(&range::MAX_CONNECTIONS_PER_NODE),
        "4",
        "Connections to one node.",
    )
    .go_micro("client_pool_size"),
    of(
        "client.max_connection_age",
        Form::Time(&range::MAX_CONNECTION_AGE),
        "for ever",
        "Age at which a connection takes no more calls.",
    )
    .go_micro("client_pool_ttl"),
    of(
        "client.cached",
        Form::Duration,
        "not at all",
        "How long equal calls are answered with the reply, without a node.",
    ),
    of("client.max_cached", Form::Number(&range::MAX_CACHED), "16 MiB", "Replies kept for that."),
    of(
        "client.max_message_size",
        Form::Number(&range::MAX_MESSAGE_SIZE),
        "4 MiB",
        "Size of a reply message.",
    ),
    of(
        "client.max_buffered",
        Form::Number(&range::MAX_BUFFERED),
        "256 MiB",
        "Reply messages held in memory.",
    ),
    of(
        "client.tls.authority",
        Form::FileOrSystem,
        "system",
        "Who is trusted; calls every node with TLS.",
    ),
    of("client.tls.certificate", Form::File, "none", "Certificate to show to servers that ask."),
    of("client.tls.private_key", Form::File, "none", "Its private key."),
    of(
        "client.tls.server_name",
        Form::Text("a name"),
        "the node's",
        "Name that is verified of every server.",
    ),
    of(
        "client.tls.policy",
        Form::Choice(&["required", "prefer"]),
        "required",
        "Whether nodes may speak plain text.",
    ),
];
