//! Every option refuses what is out of its range, in code and in documents alike.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::client::Client;
use crate::error::Code;
use crate::resilience::Limiter;
use crate::server::{Server, ServerBuilder};
use crate::service::Service;
use crate::settings::range::{self, Bounds, Range};

/// Values below, at and above a range: as a document has them, and whether they are in it.
fn values(range: &Range) -> Vec<(Json, bool)> {
    let mut values = Vec::new();
    match range.of {
        Bounds::Number(least, most) | Bounds::Bytes(least, most) => {
            if let Some(below) = least.checked_sub(1) {
                values.push((json!(below), false));
            }
            values.extend([(json!(least), true), (json!(most), true), (json!(most + 1), false)]);
            values.extend([json!(-1), json!(1.5), json!(u64::MAX)].map(|value| (value, false)));
        }
        Bounds::Time(least, most) => {
            let below = if least.is_zero() { json!(-1) } else { json!("0.9ms") };
            let ms = |time: Duration| json!(time.as_millis() as u64);
            values.extend([(below, false), (ms(least), true), (ms(most), true)]);
            values.push((json!(most.as_millis() as u64 + 1), false));
        }
        Bounds::Text(least, most) => {
            values.extend([(json!("a".repeat(least)), true), (json!("é".repeat(most / 2)), true)]);
            values.extend(["", " ", " a", "a\n", "a\tb"].map(|text| (json!(text), false)));
            values.push((json!("a".repeat(most + 1)), false));
        }
        Bounds::Header(most) => {
            values.extend([(json!(""), true), (json!("a".repeat(most)), true)]);
            values.extend(["é", "a\nb", " a"].map(|text| (json!(text), false)));
            values.push((json!("a".repeat(most + 1)), false));
        }
    }
    values
}

/// An option in the document that has it.
fn document(range: &Range, value: &Json) -> (Json, bool) {
    match range.name {
        name @ ("at_least" | "patience") => (json!({"limiter": {name: value}}), true),
        name @ ("name"
        | "namespace"
        | "dial_timeout"
        | "keepalive_timeout"
        | "max_cached"
        | "retries"
        | "calls_per_connection"
        | "max_connections_per_node") => (json!({"client": {name: value}}), true),
        name => (
            json!({name: value}),
            matches!(
                name,
                "idle_timeout"
                    | "keepalive"
                    | "max_buffered"
                    | "max_connection_age"
                    | "max_connections"
                    | "max_message_size"
            ),
        ),
    }
}

#[test]
fn every_option_of_a_document_is_held_to_its_range() {
    for range in range::ALL {
        for (value, is_in) in values(range) {
            let (document, also_of_client) = document(range, &value);
            let mut results = vec![service(&document).map(drop)];
            if also_of_client && document.get("limiter").is_none() {
                let own = document.get("client").unwrap_or(&document).clone();
                results.push(client(&own).map(drop));
            }
            for result in results {
                assert_eq!(result.is_ok(), is_in, "{document}: {result:?}");
                let Err(error) = result else { continue };
                assert_eq!(error.code(), Code::InvalidArgument, "{error}");
                assert!(error.detail().contains(range.name), "{error}");
                let tells = ["give ", "write "].iter().any(|word| error.detail().contains(word));
                assert!(tells, "{error}");
            }
        }
    }
}

#[test]
fn every_option_of_a_builder_is_held_to_its_range() {
    type Set<T> = fn(ServerBuilder, T) -> ServerBuilder;
    let numbers: [(&Range, Set<u64>); 9] = [
        (&range::MAX_CONCURRENT_CALLS, |b, n| b.max_concurrent_calls(n as usize)),
        (&range::MAX_CONNECTIONS, |b, n| b.max_connections(n as usize)),
        (&range::MAX_CONCURRENT_STREAMS, |b, n| b.max_concurrent_streams(n as u32)),
        (&range::MAX_MESSAGE_SIZE, |b, n| b.max_message_size(n as usize)),
        (&range::MAX_HEADER_SIZE, |b, n| b.max_header_size(n as u32)),
        (&range::MAX_UNSENT_REPLIES, |b, n| b.max_unsent_replies(n as usize)),
        (&range::MAX_BUFFERED, |b, n| b.max_buffered(n as usize)),
        (&range::MAX_BUFFERED_PER_CONNECTION, |b, n| b.max_buffered_per_connection(n as usize)),
        (&range::AT_LEAST, |b, n| {
            b.max_concurrent_calls(1_000_000).limiter(Limiter::adaptive().at_least(n as u32))
        }),
    ];
    for (range, set) in numbers {
        let (Bounds::Number(least, most) | Bounds::Bytes(least, most)) = range.of else {
            panic!("{} is no number", range.name)
        };
        for (value, is_in) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
            told(set(Server::builder("a"), value).check(), range, is_in);
        }
    }
    let times: [(&Range, Set<Duration>); 6] = [
        (&range::KEEPALIVE, |b, time| b.keepalive(Some(time))),
        (&range::MAX_CONNECTION_AGE, ServerBuilder::max_connection_age),
        (&range::HANDSHAKE_TIMEOUT, ServerBuilder::handshake_timeout),
        (&range::BODY_TIMEOUT, ServerBuilder::body_timeout),
        (&range::IDLE_TIMEOUT, ServerBuilder::idle_timeout),
        (&range::PATIENCE, |b, time| b.limiter(Limiter::adaptive().patience(time))),
    ];
    for (range, set) in times {
        let Bounds::Time(least, most) = range.of else { panic!("{} is no time", range.name) };
        for (value, is_in) in
            [(least, true), (most, true), (most + Duration::from_millis(1), false)]
        {
            told(set(Server::builder("a"), value).check(), range, is_in);
        }
        told(set(Server::builder("a"), Duration::ZERO).check(), range, least.is_zero());
    }
}

#[track_caller]
fn told(result: Result<()>, range: &Range, is_in: bool) {
    assert_eq!(result.is_ok(), is_in, "{}: {result:?}", range.name);
    if let Err(error) = result {
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        let said = error.detail();
        assert!(said.contains(range.name) && said.contains(&range.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_service_is_not_started_with_an_option_out_of_its_range() {
    let service = || {
        let memory = Arc::new(crate::registry::Memory::new());
        Service::builder("a").registry(memory).address("127.0.0.1:0")
    };
    for (builder, option) in [
        (service().version(""), "version"),
        (service().id(""), "id"),
        (service().id("a\nb"), "id"),
        (service().propagation(Duration::MAX), "propagation"),
        (service().server(|server| server.max_connections(0)), "max_connections"),
        (service().server(|server| server.allow_origin("app.example")), "allow_origin"),
        (service().client(|client| client.retries(101)), "retries"),
        (service().client(|client| client.dial_timeout(Duration::ZERO)), "dial_timeout"),
        (
            service().server(|server| {
                server.max_concurrent_calls(2).limiter(Limiter::adaptive().at_least(3))
            }),
            "at_least",
        ),
    ] {
        let error = builder.start().await.expect_err(option);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.detail().starts_with(&format!("{option}: ")), "{error}");
    }
}

#[tokio::test]
async fn a_client_is_not_made_with_an_option_out_of_its_range() {
    let client = || Client::builder().registry(Arc::new(crate::registry::Memory::new()));
    for (builder, option) in [
        (client().name("a\nb"), "name"),
        (client().namespace("é"), "namespace"),
        (client().dial_timeout(Duration::ZERO), "dial_timeout"),
        (client().keepalive(Duration::ZERO), "keepalive"),
        (client().keepalive_timeout(Duration::MAX), "keepalive_timeout"),
        (client().max_message_size(0), "max_message_size"),
        (client().max_buffered(0), "max_buffered"),
        (client().max_connections(0), "max_connections"),
        (client().calls_per_connection(0), "calls_per_connection"),
        (client().max_connections_per_node(0), "max_connections_per_node"),
        (client().max_connection_age(Duration::ZERO), "max_connection_age"),
        (client().idle_timeout(Duration::ZERO), "idle_timeout"),
        (client().retries(u32::MAX), "retries"),
    ] {
        let error = builder.build().expect_err(option);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.detail().starts_with(&format!("{option}: ")), "{error}");
    }
    let call = client().build().unwrap().call::<Raw, Raw>("a", "A.B", Raw::default()).retries(101);
    assert_eq!(call.await.expect_err("refused").code(), Code::InvalidArgument);
}

#[test]
fn origins_are_what_browsers_send() {
    for right in ["*", "null", "https://app.example", "http://localhost:3000", "app://local"] {
        assert!(range::origin(right).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "app.example",
        "https://",
        "https://app.example/",
        "https://App.example",
        "https://a b",
    ] {
        assert!(range::origin(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_documentation_has_every_range() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    for range in range::ALL {
        let (name, wanted) = (format!("`{}`", range.name), format!("| {range} |"));
        let there = text.lines().any(|line| line.contains(&name) && line.contains(&wanted));
        assert!(there, "docs/configuration.md has no row with {name} and {wanted}");
    }
}
