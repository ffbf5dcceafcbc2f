//! Every mistake is told in words that lead to the fix.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Code;

#[test]
fn mistakes_name_the_document_and_the_field_and_what_would_do() {
    type Read = fn(&Json) -> Result<()>;
    let (in_service, in_client, in_call): (Read, Read, Read) =
        (|d| service(d).map(drop), |d| client(d).map(drop), |d| call(d).map(drop));
    let in_endpoint: Read = |d| endpoint(d).map(drop);
    for (read, document, detail) in [
        (
            in_service,
            json!({"adress": ":80"}),
            "service settings: unknown field \"adress\": did you mean `address`?",
        ),
        (
            in_service,
            json!({"registerTtl": 1}),
            "service settings: unknown field \"registerTtl\": did you mean `register_ttl`?",
        ),
        (
            in_service,
            json!({"client": {"timeuot": 1}}),
            "service settings: client: unknown field \"timeuot\": did you mean `timeout`?",
        ),
        (
            in_service,
            json!({"client": {"timeout": "soon"}}),
            "service settings: client.timeout: \"soon\" is no duration: write for example \"250ms\", \"1.5s\" or \"1m\"",
        ),
        (
            in_service,
            json!({"grace": -5}),
            "service settings: grace: -5 is not a duration: write for example \"250ms\", \"1.5s\", \"1m\" or 1500 for milliseconds",
        ),
        (
            in_service,
            json!({"register_interval": "0"}),
            "service settings: register_interval: \"0\" is no duration: write for example \"250ms\", \"1.5s\" or \"1m\"",
        ),
        (
            in_service,
            json!({"metadata": {"zone": 5}}),
            "service settings: metadata.zone: 5 is not a text",
        ),
        (
            in_service,
            json!({"max_header_size": 5_000_000_000_u64}),
            "service settings: max_header_size: 5 000 000 000 is out of range: give 4 096 to 16 777 216 bytes",
        ),
        (
            in_service,
            json!({"limiter": "of"}),
            "service settings: limiter: \"of\" is unknown: did you mean \"off\"?",
        ),
        (
            in_service,
            json!({"limiter": {"patience": []}}),
            "service settings: limiter.patience: a list is not a duration: write for example \"250ms\", \"1.5s\", \"1m\" or 1500 for milliseconds",
        ),
        (
            in_service,
            json!({"allow_origins": "*"}),
            "service settings: allow_origins: a text is not a list",
        ),
        (
            in_service,
            json!({"allow_origins": ["*", 1]}),
            "service settings: allow_origins[1]: 1 is not a text",
        ),
        (
            in_service,
            json!({"network": "udp://"}),
            "service settings: network: unknown network \"udp\": did you mean tcp://? (known: tcp://, memory://)",
        ),
        (
            in_service,
            json!({"register_check": "db:5432"}),
            "service settings: register_check: \"db:5432\" cannot be asked: the scheme is neither tcp nor http: write tcp://host:port, or http://host:port/path",
        ),
        (
            in_service,
            json!({"tls": {"certificate": "-----BEGIN"}}),
            "service settings: tls: `private_key` is missing",
        ),
        (
            in_service,
            json!({"client": {"registry": "memory"}}),
            "service settings: client.registry: the client of a service shares its registry: set `registry` of the service",
        ),
        (
            in_service,
            json!({"client": {"broker": "memory"}}),
            "service settings: client.broker: the client of a service shares its broker: set `broker` of the service",
        ),
        (
            in_service,
            json!({"client": {"store": "memory"}}),
            "service settings: client.store: the client of a service shares its store: set `store` of the service",
        ),
        (
            in_service,
            json!({"handle_signals": true}),
            "service settings: unknown field \"handle_signals\" (known: name, version, id, metadata, advertise, registry, broker, store, register_ttl, register_interval, register_timeout, register_check, propagation, network, tls, client, address, grace, max_concurrent_calls, max_connections, max_concurrent_streams, max_message_size, max_header_size, max_unsent_replies, max_buffered, max_buffered_per_connection, compression, allow_origins, keepalive, max_connection_age, handshake_timeout, body_timeout, idle_timeout, limiter, settings, environment, quiet)",
        ),
        (
            in_service,
            json!([]),
            "service settings: a list is not an object: write for example {\"timeout\": \"5s\"}",
        ),
        (
            in_client,
            json!({"tls": true}),
            "client settings: tls: true is not \"system\", or an object with an `authority`",
        ),
        (
            in_client,
            json!({"tls": {"authority": "/etc/ca.pem"}}),
            "client settings: tls.authority: a text is not PEM: write the text, or {\"file\": \"/its/path\"}",
        ),
        (
            in_client,
            json!({"tls": {"authority": {"file": "a"}, "private_key": {"file": "b"}}}),
            "client settings: tls: `certificate` and `private_key` go together: give both or neither",
        ),
        (
            in_client,
            json!({"strategy": "best"}),
            "client settings: strategy: unknown strategy \"best\": choose one of p2c, random, round_robin, hash",
        ),
        (
            in_call,
            json!({"compression": "brotli"}),
            "call settings: compression: \"brotli\" is unknown: write one of \"gzip\", \"zstd\", \"none\"",
        ),
        (
            in_call,
            json!({"content_type": "text/html"}),
            "call settings: content_type: Unsupported Content-Type: text/html: write for example \"application/grpc+json\"",
        ),
        (
            in_call,
            json!({"filters": [{"version": "1", "endpoint": "A.B"}]}),
            "call settings: filters[0]: a filter has one of `version`, `label` and `endpoint`",
        ),
        (
            in_call,
            json!({"filters": [{"label": ["zone"]}]}),
            "call settings: filters[0].label: a label is its key and its value: [\"zone\", \"a\"]",
        ),
        (
            in_call,
            json!({"metadata": {"te": "1"}}),
            "call settings: metadata.te: metadata name `te` is reserved by HTTP/2 and gRPC: choose another",
        ),
        (
            in_call,
            json!({"retries": -1}),
            "call settings: retries: -1 is not a whole number: give 0 to 100",
        ),
        (
            in_call,
            json!({"timeout": u64::MAX}),
            "call settings: timeout: 18446744073709551615 is not a duration: write for example \"250ms\", \"1.5s\", \"1m\" or 1500 for milliseconds",
        ),
        (
            in_endpoint,
            json!({"idempotent": "yes"}),
            "endpoint settings: idempotent: a text is not true or false",
        ),
    ] {
        let error = read(&document).expect_err(detail);
        assert_eq!((error.code(), error.detail()), (Code::InvalidArgument, detail));
    }
}

#[tokio::test]
async fn a_registry_that_is_unknown_fails_the_start_and_the_client() {
    let document = json!({"registry": "memry://", "environment": false});
    let says = "registry: unknown registry \"memry\": did you mean memory://? (known: auto://, local://, mdns://, memory://)";
    let started = service(&document).unwrap().start().await.unwrap_err();
    let built = client(&document).unwrap().build().unwrap_err();
    for (error, settings) in [(started, "service settings"), (built, "client settings")] {
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().starts_with(&format!("{settings}: {says}")), "{error}");
    }
}

#[test]
fn a_text_that_is_no_document_is_refused() {
    let refused = |text: &str| CallSettings::from_json(text).expect_err("no document");
    let error = refused("{timeout: 5}");
    assert!(error.detail().starts_with("call settings: no JSON: "), "{error}");
    assert!(refused(&"[".repeat(1000)).detail().contains("recursion limit"));
    let large = format!("{{\"key\": \"{}\"}}", "k".repeat(1024 * 1024));
    assert!(refused(&large).detail().contains("a document has at most 1048576"));
}

#[test]
fn documents_are_read_by_serde_too() {
    let settings: CallSettings = serde_json::from_value(json!({"retries": 7})).unwrap();
    assert_eq!(CallOptions::from(settings).retries, Some(7));
    let error = serde_json::from_str::<CallSettings>(r#"{"retry": 1}"#).unwrap_err().to_string();
    assert!(error.starts_with("call settings: retry: 1 is not one of \"safe\""), "{error}");
}
