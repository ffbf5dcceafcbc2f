//! Messages over the border: published, delivered to subscribers of a service and to a host that takes them itself, settled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use bytes::Bytes;
use host::{Host, of};
use micro_bridge::core::{Code, Metadata};
use micro_bridge::{
    Client, Event, EventKind, Headers, Id, Publication, Server, Status, flags, operations, pack,
    request_flags, verdict,
};
use std::collections::BTreeMap;

/// Names that no other test of this process has.
fn broker(name: &str) -> String {
    format!(r#", "broker": "memory://{name}""#)
}

fn message<'a>(topic: &'a str, body: &'static str) -> Publication<'a> {
    Publication { topic, payload: body.into(), flags: flags::JSON.into(), ..Publication::default() }
}

fn subscribe(host: &Host, client: &Client, args: &str, token: u64) -> Id {
    let id = client.follow(&host.queue, of(operations::BROKER_SUBSCRIBE, args), token).unwrap();
    assert_eq!(host.next(EventKind::Opened).token, token);
    id
}

/// The headers of a message, and what is known beside them.
fn known(event: &Event) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let read = |block| Headers::new(block).map(|(name, value)| (text(name), text(value))).collect();
    (read(&event.meta), read(Headers::after(&event.meta)))
}

/// A durable broker in a folder of its own.
fn durable(folder: &tempfile::TempDir) -> String {
    format!(r#", "broker": "durable://{}""#, folder.path().display())
}

#[test]
fn a_message_is_taken_as_granted_and_settled_once() {
    let host = Host::new();
    let client = host.client(&broker("taken"));
    let subscription = subscribe(&host, &client, r#"{"topic": "orders"}"#, 7);
    let mut metadata = Metadata::new();
    metadata.append("tenant", "blue").unwrap();
    let meta = pack(&metadata);
    client.publish(&host.queue, Publication { meta: &meta, ..message("orders", "7") }, 8).unwrap();
    assert!(host.quiet(), "it was not granted");
    host.runtime.grant(subscription, 1).unwrap();
    let event = host.next(EventKind::Delivery);
    assert_eq!((event.token, event.method, event.flags), (7, 1, flags::JSON));
    assert_eq!(event.payload, "7");
    let (headers, facts) = known(&event);
    assert_eq!(headers["tenant"], "blue");
    assert_eq!(headers["micro-topic"], "orders");
    assert_eq!((&*facts["topic"], &*facts["attempt"]), ("orders", "1"));
    assert_eq!(facts["type"], "application/json");
    assert!(facts["published"].parse::<u64>().unwrap() > 1_700_000_000_000);
    // The broker in memory tells its publisher what became of it.
    host.runtime.settle(event.id, verdict::EXTEND, 0, "").unwrap();
    assert!(host.quiet());
    host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap();
    let published = host.next(EventKind::Reply);
    assert_eq!((published.token, published.status), (8, Status::OK));
    let again = host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap_err();
    assert_eq!(again.status(), Status::STALE);
    host.end();
}

#[test]
fn what_is_not_settled_is_anothers_when_the_subscription_ends() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let client = host.client(&durable(&folder));
    let args = r#"{"topic": "orders", "queue": "billing", "start": "first"}"#;
    let first = subscribe(&host, &client, args, 1);
    host.runtime.grant(first, 2).unwrap();
    client.publish(&host.queue, message("orders", "1"), 9).unwrap();
    let lent = host.next(EventKind::Delivery);
    // One that the host has not even seen.
    client.publish(&host.queue, message("orders", "2"), 9).unwrap();
    host.wait_for_something();
    host.runtime.cancel(first).unwrap();
    let second = subscribe(&host, &client, args, 2);
    host.runtime.grant(second, 16).unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let event = host.next(EventKind::Delivery);
        if event.token == 2 {
            host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap();
            bodies.push(event.payload);
        }
    }
    bodies.sort();
    assert_eq!(bodies, [Bytes::from("1"), Bytes::from("2")]);
    let stale = host.runtime.settle(lent.id, verdict::ACK, 0, "").unwrap_err();
    assert_eq!(stale.status(), Status::STALE);
    host.end();
}

#[test]
fn a_host_says_when_it_is_delivered_again_and_that_it_never_is() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let client = host.client(&durable(&folder));
    let orders = subscribe(&host, &client, r#"{"topic": "orders", "queue": "q"}"#, 1);
    let dead = subscribe(&host, &client, r#"{"topic": "orders.dead", "queue": "q"}"#, 2);
    for subscription in [orders, dead] {
        host.runtime.grant(subscription, 8).unwrap();
    }
    let options = r#"{"key": "k"}"#;
    client.publish(&host.queue, Publication { options, ..message("orders", "1") }, 9).unwrap();
    let event = host.next(EventKind::Delivery);
    assert_eq!(known(&event).1["key"], "k");
    host.runtime.settle(event.id, verdict::RETRY, 1_000_000, "not yet").unwrap();
    let event = host.next(EventKind::Delivery);
    assert_eq!((event.token, event.method), (1, 2));
    host.runtime.settle(event.id, verdict::REJECT, 0, "no such customer").unwrap();
    let event = host.next(EventKind::Delivery);
    assert_eq!(event.token, 2);
    let (headers, _) = known(&event);
    assert_eq!(headers["micro-dead-reason"], "no such customer");
    assert_eq!(headers["micro-dead-attempts"], "2");
    host.end();
}

#[test]
fn a_subscriber_of_a_service_answers_its_messages_as_calls() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let options = format!(
        r#"{{ "registry": "memory://subscribers", "network": "memory://subscribers", "address": "127.0.0.1:0", "grace": "1s" {} }}"#,
        durable(&folder)
    );
    let server = Server::new(&host.runtime, "billing", &options).unwrap();
    let terms = r#"{"queue": "billing", "max_attempts": 3, "backoff": "none"}"#;
    assert_eq!(server.subscribe("orders", terms).unwrap(), 0);
    assert_eq!(server.subscribe("orders.dead", r#"{"queue": "people"}"#).unwrap(), 1);
    server.start(&host.queue, 100).unwrap();
    host.next(EventKind::Opened);
    let client = server.client().unwrap();
    client.publish(&host.queue, message("orders", "1"), 9).unwrap();
    let event = host.next(EventKind::Call);
    assert_eq!((event.method, event.flags), (0, flags::JSON));
    assert_eq!(known(&event).1["attempt"], "1");
    // What is published by a handler is part of the same trace.
    let parent = event.id;
    let part = Publication { parent, ..message("audit", "1") };
    client.publish(&host.queue, part, 10).unwrap();
    let failure = micro_bridge::core::Error::new(Code::Unavailable, "no bank");
    host.runtime.reply(event.id, Err(failure), &[]).unwrap();
    let event = host.next(EventKind::Call);
    assert_eq!(known(&event).1["attempt"], "2");
    host.runtime.settle(event.id, verdict::REJECT, 0, "no such customer").unwrap();
    let event = host.next(EventKind::Call);
    assert_eq!(event.method, 1);
    assert!(known(&event).0["micro-dead-reason"].contains("no such customer"));
    host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap();
    let late = host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap_err();
    assert_eq!(late.status(), Status::STALE);
    server.stop().unwrap();
    host.next(EventKind::End);
    host.end();
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_begins() {
    let host = Host::new();
    let client = host.client(&broker("refused"));
    let failure = client.publish(&host.queue, message("", "1"), 1).map(drop);
    failure.unwrap();
    let event = host.next(EventKind::Reply);
    assert!(event.failure.unwrap().message().contains("topic"));
    for (options, hint) in
        [(r#"{"delays": 1}"#, "did you mean `delay`?"), ("{", "publish settings: no JSON")]
    {
        let publication = Publication { options, ..message("orders", "1") };
        let failure = client.publish(&host.queue, publication, 1).unwrap_err();
        assert!(failure.message().contains(hint), "{failure}");
    }
    let flags = request_flags::IDEMPOTENT;
    let failure = client.publish(&host.queue, Publication { flags, ..message("a", "1") }, 1);
    assert_eq!(failure.unwrap_err().status(), Status::ARG);
    for (args, hint) in [
        ("{}", "`topic` is missing"),
        (r#"{"topic": "a", "start": "frist"}"#, "did you mean \"first\"?"),
    ] {
        let question = of(operations::BROKER_SUBSCRIBE, args);
        let failure = client.follow(&host.queue, question, 1).unwrap_err();
        assert!(failure.message().contains(hint), "{failure}");
    }
    // What its broker cannot do, it says when it is asked.
    let question = of(operations::BROKER_SUBSCRIBE, r#"{"topic": "a", "start": "first"}"#);
    client.follow(&host.queue, question, 3).unwrap();
    let event = host.next(EventKind::End);
    assert!(event.failure.unwrap().message().contains("leave out `start`"));
    let failure = host.runtime.settle(Id::from_raw(77), verdict::ACK, 0, "").unwrap_err();
    assert_eq!(failure.status(), Status::STALE);
    let silence = subscribe(&host, &client, r#"{"topic": "a"}"#, 4);
    let failure = host.runtime.settle(silence, verdict::ACK, 0, "").unwrap_err();
    assert!(failure.message().contains("no message"), "{failure}");
    let failure = host.runtime.settle(silence, 9, 0, "").unwrap_err();
    assert!(failure.message().contains("9 is no verdict"), "{failure}");
    host.end();
}

#[test]
fn a_message_that_waits_in_a_closed_queue_is_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let other = Host::on(&host.runtime);
    let client = host.client(&durable(&folder));
    let args = r#"{"topic": "orders", "queue": "q", "start": "first"}"#;
    let first = subscribe(&host, &client, args, 1);
    host.runtime.grant(first, 1).unwrap();
    client.publish(&other.queue, message("orders", "1"), 9).unwrap();
    host.wait_for_something();
    host.queue.close().unwrap();
    let second = subscribe(&other, &client, args, 2);
    host.runtime.grant(second, 1).unwrap();
    assert_eq!(other.next(EventKind::Delivery).payload, "1");
    host.end();
}

#[test]
fn what_was_acknowledged_before_the_end_of_its_subscription_is_never_delivered_again() {
    let folder = tempfile::tempdir().unwrap();
    let (owner, other) = (Host::new(), Host::new());
    let owning = owner.client(&durable(&folder));
    let args = r#"{"topic": "orders", "queue": "owners"}"#;
    let first = subscribe(&owner, &owning, args, 1);
    owner.runtime.cancel(first).unwrap();
    // One of them has the folder, and the other is told by it.
    for host in [&owner, &other] {
        let client = host.client(&durable(&folder));
        let args = r#"{"topic": "orders", "queue": "q", "start": "first"}"#;
        for round in 0..40 {
            let body = Bytes::from(round.to_string());
            let one = Publication { payload: body.clone(), ..message("orders", "") };
            client.publish(&host.queue, one, 9).unwrap();
            let subscription = subscribe(host, &client, args, 2);
            host.runtime.grant(subscription, 1).unwrap();
            let event = host.next(EventKind::Delivery);
            assert_eq!(event.payload, body);
            host.runtime.settle(event.id, verdict::ACK, 0, "").unwrap();
            host.runtime.cancel(subscription).unwrap();
        }
    }
    owner.end();
    other.end();
}
