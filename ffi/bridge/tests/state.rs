//! Records and locks, as a host asks for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use bytes::Bytes;
use host::{Host, of};
use micro_bridge::core::Code;
use micro_bridge::{Client, Event, EventKind, Failure, Headers, Id, Question, operations};

/// A client whose store is that of this name.
fn of_store(host: &Host, name: &str) -> Client {
    host.client(&format!(r#", "store": "memory://{name}""#))
}

fn asked(host: &Host, client: &Client, operation: u32, args: &str, payload: &'static str) -> Event {
    let payload = Bytes::from_static(payload.as_bytes());
    client.ask(&host.queue, Question { payload, ..of(operation, args) }, 1).unwrap();
    host.next(EventKind::Reply)
}

/// Asks for something that is not to be had, and waits for its end.
fn in_vain(host: &Host, client: &Client, operation: u32, args: &str) {
    let id = client.follow(&host.queue, of(operation, args), 3).unwrap();
    assert_eq!(host.next(EventKind::Opened).id, id);
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.status.code()), (id, Some(Code::DeadlineExceeded)));
}

fn followed(host: &Host, client: &Client, operation: u32, args: &str) -> Id {
    let id = client.follow(&host.queue, of(operation, args), 2).unwrap();
    assert_eq!(host.next(EventKind::Opened).id, id);
    host.runtime.grant(id, 100).unwrap();
    id
}

/// What is known beside a value, as lines.
fn facts(event: &Event) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let known = Headers::new(Headers::after(&event.meta));
    let lines = known.map(|(name, value)| format!("{}={}", text(name), text(value)));
    lines.collect::<Vec<_>>().join(" ")
}

fn json(event: &Event) -> serde_json::Value {
    serde_json::from_slice(&event.payload).unwrap()
}

fn reason(event: &Event) -> Option<&'static str> {
    let failure: &Failure = event.failure.as_ref().unwrap();
    Some(failure.reason()).filter(|reason| !reason.is_empty())
}

#[test]
fn records_are_written_read_listed_and_deleted() {
    let host = Host::new();
    let client = of_store(&host, "records");
    let written = asked(
        &host,
        &client,
        operations::STORE_APPLY,
        r#"{"changes": [
            {"key": "grün", "length": 3, "metadata": {"by": "ada"}, "ttl": 60000},
            {"key": "b", "length": 0, "if_absent": true}
        ]}"#,
        "abc",
    );
    assert_eq!(json(&written), serde_json::json!([1, 2]));
    let read = asked(&host, &client, operations::STORE_READ, r#"{"key": "grün"}"#, "");
    assert_eq!(read.payload, "abc");
    let known = facts(&read);
    assert!(known.starts_with("key=grün version=1 expires_in="), "{known}");
    assert!(known.ends_with(r#"metadata={"by":"ada"}"#), "{known}");
    followed(&host, &client, operations::STORE_LIST, r#"{"descending": true}"#);
    let (first, second) = (host.next(EventKind::Change), host.next(EventKind::Change));
    assert!(facts(&first).starts_with("key=grün"), "{first:?}");
    assert_eq!((facts(&second).as_str(), second.payload.len()), ("key=b version=2", 0));
    assert!(host.next(EventKind::End).failure.is_none());
    let deleted = r#"{"changes": [{"key": "b", "delete": true, "if_version": 2}]}"#;
    let deleted = asked(&host, &client, operations::STORE_APPLY, deleted, "");
    assert_eq!(json(&deleted), serde_json::json!([3]));
    let missing = asked(&host, &client, operations::STORE_READ, r#"{"key": "b"}"#, "");
    assert_eq!(missing.status.code(), Some(Code::NotFound));
    let tables = asked(&host, &client, operations::STORE_TABLES, "", "");
    assert_eq!(json(&tables), serde_json::json!(["micro"]));
    host.end();
}

#[test]
fn what_fails_says_why_by_its_reason() {
    let host = Host::new();
    let client = of_store(&host, "reasons");
    let apply = |args: &str, payload| asked(&host, &client, operations::STORE_APPLY, args, payload);
    let fenced = |token: u64| {
        format!(
            r#"{{"changes": [{{"key": "a", "length": 1}}], "fences": [{{"lock": "l", "token": {token}}}]}}"#
        )
    };
    assert!(apply(&fenced(7), "1").failure.is_none());
    let stale = apply(&fenced(6), "2");
    assert_eq!(stale.status.code(), Some(Code::FailedPrecondition));
    assert_eq!(reason(&stale), Some("stale_token"));
    let conflict = apply(r#"{"changes": [{"key": "a", "delete": true, "if_absent": true}]}"#, "");
    assert_eq!(
        (conflict.status.code(), reason(&conflict)),
        (Some(Code::Aborted), Some("conflict"))
    );
    for (args, payload, text) in [
        (r#"{"changes": [{"key": "a", "length": 3}]}"#, "ab", "longer value than is left"),
        (r#"{"changes": [{"key": "a", "length": 1}]}"#, "ab", "1 bytes of the payload"),
        (r#"{"changes": [{"key": "a", "length": 0, "delete": true}]}"#, "", "writes and deletes"),
        (r#"{"changes": [{"key": "a", "ttl": 5}]}"#, "", "takes neither ttl nor"),
        (r#"{"changes": [{"key": "a", "if_absent": true, "if_version": 2}]}"#, "", "one condition"),
        (r#"{"changes": [], "level": "durable"}"#, "", "is no level"),
    ] {
        let wrong = apply(args, payload);
        let failure = wrong.failure.as_ref().unwrap();
        assert!(failure.message().contains(text), "{text}: {failure}");
    }
    host.end();
}

#[test]
fn a_watch_sees_records_come_and_go_until_it_is_closed() {
    let host = Host::new();
    let client = of_store(&host, "watched");
    let watch = followed(&host, &client, operations::STORE_WATCH, r#"{"prefix": "a"}"#);
    asked(
        &host,
        &client,
        operations::STORE_APPLY,
        r#"{"changes": [{"key": "a1", "length": 1}]}"#,
        "x",
    );
    let change = host.next(EventKind::Change);
    assert_eq!((facts(&change).as_str(), &*change.payload), ("key=a1 version=1", &b"x"[..]));
    asked(
        &host,
        &client,
        operations::STORE_APPLY,
        r#"{"changes": [{"key": "a1", "delete": true}]}"#,
        "",
    );
    assert_eq!(facts(&host.next(EventKind::Change)), "key=a1 version=2 gone=true");
    host.runtime.close(watch).unwrap();
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.failure.is_none()), (watch, true));
    host.end();
}

#[test]
fn a_lock_is_passed_on_once_it_is_closed_and_its_token_fences() {
    let host = Host::new();
    let client = of_store(&host, "locks");
    let first = followed(&host, &client, operations::SYNC_LOCK, r#"{"name": "stock"}"#);
    let held = host.next(EventKind::Change);
    assert_eq!(held.id, first);
    let second = followed(&host, &client, operations::SYNC_LOCK, r#"{"name": "stock"}"#);
    let wait = r#"{"name": "stock", "wait": 0}"#;
    in_vain(&host, &client, operations::SYNC_LOCK, wait);
    host.runtime.close(first).unwrap();
    let given_back = host.next(EventKind::End);
    assert_eq!((given_back.id, given_back.failure.is_none()), (first, true));
    let passed = host.next(EventKind::Change);
    assert_eq!(passed.id, second);
    let (before, after) = (json(&held), json(&passed));
    assert!(before["token"].as_u64() < after["token"].as_u64(), "{before} {after}");
    let stale = format!(
        r#"{{"changes": [{{"key": "a", "length": 1}}], "fences": [{{"lock": {}, "token": {}}}]}}"#,
        before["lock"], before["token"]
    );
    let stale = asked(&host, &client, operations::STORE_APPLY, &stale, "1");
    assert_eq!(reason(&stale), Some("stale_token"));
    // One that is cancelled is given back as well.
    host.runtime.cancel(second).unwrap();
    assert_eq!(host.next(EventKind::End).id, second);
    let fourth = followed(&host, &client, operations::SYNC_LOCK, r#"{"name": "stock"}"#);
    assert_eq!(host.next(EventKind::Change).id, fourth);
    host.end();
}

#[test]
fn a_semaphore_has_its_seats_and_an_election_its_leader() {
    let host = Host::new();
    let client = of_store(&host, "seats");
    let seats = r#"{"name": "pool", "seats": 2}"#;
    for _ in 0..2 {
        let seat = followed(&host, &client, operations::SYNC_SEMAPHORE, seats);
        assert_eq!(host.next(EventKind::Change).id, seat);
    }
    let full = r#"{"name": "pool", "seats": 2, "wait": 0}"#;
    in_vain(&host, &client, operations::SYNC_SEMAPHORE, full);
    followed(&host, &client, operations::SYNC_LEADERS, r#"{"name": "billing"}"#);
    assert!(json(&host.next(EventKind::Change)).is_null());
    let election = r#"{"name": "billing", "who": "ada", "note": "10.0.0.1:9"}"#;
    let lead = followed(&host, &client, operations::SYNC_ELECT, election);
    let mut told = [host.next(EventKind::Change), host.next(EventKind::Change)];
    told.sort_by_key(|event| event.id == lead);
    let leader = json(&told[0]);
    assert_eq!((&leader["who"], &leader["note"]), (&"ada".into(), &"10.0.0.1:9".into()));
    assert_eq!(leader["token"], json(&told[1])["token"]);
    host.end();
}

#[test]
fn a_rate_is_shared_and_says_when_it_is_used_up() {
    let host = Host::new();
    let client = of_store(&host, "rates");
    let take = |args| asked(&host, &client, operations::SYNC_TAKE, args, "");
    assert!(take(r#"{"name": "mails", "permits": 2, "per": "1h", "take": 2}"#).failure.is_none());
    let empty = take(r#"{"name": "mails", "permits": 2, "per": "1h"}"#);
    assert_eq!(empty.status.code(), Some(Code::ResourceExhausted));
    host.end();
}
