//! Options of a service and its server.

use super::setting::{Form, Setting};
use crate::settings::range;

const fn of(key: &'static str, form: Form, default: &'static str, help: &'static str) -> Setting {
    Setting::new(key, form, default, help)
}

pub(super) const SETTINGS: &[Setting] = &[
    of("settings", Form::Text("a file"), "none", "Document of settings to read."),
    of("name", Form::Text("a name"), "the program's", "Name that callers use.")
        .go_micro("server_name"),
    of("version", Form::Ranged(&range::VERSION), "latest", "Version that callers may filter by.")
        .go_micro("server_version"),
    of(
        "id",
        Form::Ranged(&range::ID),
        "a random UUID",
        "Id of this instance; the node is <name>-<id>.",
    )
    .go_micro("server_id"),
    of("metadata", Form::Labels, "none", "Label of the node, beside those of the program.")
        .go_micro("server_metadata"),
    of(
        "address",
        Form::Text("`host:port`"),
        ":0",
        "Address to listen on; :0 is any address and any free port, :8000-8010 the first free one of these.",
    )
    .go_micro("server_address"),
    of(
        "advertise",
        Form::Text("`host:port`"),
        "the one listened on",
        "Address to register instead.",
    )
    .go_micro("server_advertise"),
    of("registry", Form::Text("a URL"), "auto", "Where services are registered and found.")
        .go_micro("registry"),
    of("broker", Form::Text("a URL"), "http://", "Where messages are published and subscribed.")
        .go_micro("broker"),
    of("store", Form::Text("a URL"), "file://", "Where records are kept.").go_micro("store"),
    of("network", Form::Text("a URL"), "tcp://", "Network to serve and call on.").in_documents(),
    of("environment", Form::Truth, "true", "Whether variables are read.").in_documents(),
    of(
        "register_ttl",
        Form::Seconds,
        "60s",
        "How long the registry keeps the node without news of it; 0 is for ever.",
    )
    .go_micro("register_ttl"),
    of(
        "register_interval",
        Form::Seconds,
        "30s",
        "How often the node is registered anew; 0 is never.",
    )
    .go_micro("register_interval"),
    of("register_timeout", Form::Limit, "10s", "How long a request to the registry may take."),
    of(
        "register_check",
        Form::Text("`tcp://host:port` or `http://host:port/path`"),
        "none",
        "What must answer before each registration; while it does not, the node is not registered.",
    ),
    of(
        "propagation",
        Form::Time(&range::PROPAGATION),
        "100ms",
        "How long it serves on after deregistering.",
    ),
    of("quiet", Form::Truth, "false", "Whether nothing is said at the start."),
    of("grace", Form::Limit, "10s", "How long running calls may go on after that."),
    of("tls.certificate", Form::File, "none", "Certificate to show; serves TLS and nothing else."),
    of("tls.private_key", Form::File, "none", "Its private key."),
    of("tls.authority", Form::File, "none", "Lets in only clients with a certificate from there."),
    of(
        "max_concurrent_calls",
        Form::Number(&range::MAX_CONCURRENT_CALLS),
        "16384",
        "Calls at once.",
    ),
    of("max_connections", Form::Number(&range::MAX_CONNECTIONS), "10000", "Connections at once."),
    of(
        "max_concurrent_streams",
        Form::Number(&range::MAX_CONCURRENT_STREAMS),
        "1000",
        "Calls at once per connection.",
    ),
    of(
        "max_message_size",
        Form::Number(&range::MAX_MESSAGE_SIZE),
        "4 MiB",
        "Size of a request message.",
    ),
    of(
        "max_header_size",
        Form::Number(&range::MAX_HEADER_SIZE),
        "64 KiB",
        "Size of the headers of a call.",
    ),
    of(
        "max_unsent_replies",
        Form::Number(&range::MAX_UNSENT_REPLIES),
        "64 MiB",
        "Replies that a connection asks for and does not take.",
    ),
    of(
        "max_buffered",
        Form::Number(&range::MAX_BUFFERED),
        "256 MiB",
        "Request messages held in memory.",
    ),
    of(
        "max_buffered_per_connection",
        Form::Number(&range::MAX_BUFFERED_PER_CONNECTION),
        "64 MiB",
        "Those of one connection.",
    ),
    of("compression", Form::Choice(&["gzip", "zstd", "none"]), "none", "How replies are sent."),
    of(
        "allow_origins",
        Form::List("origins"),
        "none",
        "Origins whose web pages may call; * is any.",
    ),
    of(
        "keepalive",
        Form::TimeOrNone(&range::KEEPALIVE),
        "60s",
        "How often an idle connection is probed.",
    ),
    of(
        "max_connection_age",
        Form::Time(&range::MAX_CONNECTION_AGE),
        "for ever",
        "How long a connection may last.",
    ),
    of(
        "handshake_timeout",
        Form::Time(&range::HANDSHAKE_TIMEOUT),
        "10s",
        "For a TLS handshake, the first bytes, and each head that has begun.",
    ),
    of(
        "body_timeout",
        Form::Time(&range::BODY_TIMEOUT),
        "30s",
        "For the message of a request, with a millisecond more for each byte.",
    ),
    of(
        "idle_timeout",
        Form::Time(&range::IDLE_TIMEOUT),
        "75s",
        "How long a connection of HTTP/1.1 may be idle.",
    ),
    of(
        "limiter",
        Form::Choice(&["adaptive", "off"]),
        "adaptive",
        "What limits calls of an endpoint at once.",
    ),
    of("limiter.patience", Form::Time(&range::PATIENCE), "adaptive", "Longest wait in line."),
    of(
        "limiter.at_least",
        Form::Number(&range::AT_LEAST),
        "1",
        "Calls that may always run at once.",
    ),
];
