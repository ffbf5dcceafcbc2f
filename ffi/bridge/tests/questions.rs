//! What a host asks and follows: refused, timed, part of a call, in places of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use std::time::Duration;

use bytes::Bytes;
use host::{GREETER, Host, echo, of};
use micro_bridge::core::{Code, Metadata};
use micro_bridge::{
    Client, EventKind, Failure, NO_TIMEOUT, Question, Request, Shape, Status, operations, pack,
    provided, request_flags,
};

const INVALID_ARGUMENT: Status = Status(3);
const DEADLINE_EXCEEDED: Status = Status(4);
const CANCELLED: Status = Status(1);

/// A client of a registry that this host provides and never answers for.
fn of_silence(host: &Host, name: &str) -> Client {
    host.runtime.provide(provided::area::REGISTRY, name, &host.queue, 900).unwrap();
    Client::new(&host.runtime, &format!(r#"{{"registry": "host://{name}"}}"#)).unwrap()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

#[test]
fn wrong_questions_are_refused_before_anything_begins() {
    let host = Host::new();
    let client = host.client("");
    let wrong = [
        (of(0, ""), "there is no operation 0x0000"),
        (of(0x02ff, ""), "there is no operation 0x02ff"),
        (of(operations::REGISTRY_WATCH, ""), "registry.watch is followed, not asked"),
        (of(operations::REGISTRY_GET, ""), "registry.get: `service` is missing"),
        (of(operations::REGISTRY_GET, "[]"), "registry.get: a list is not an object"),
        (of(operations::REGISTRY_GET, "{"), "registry.get: no JSON"),
        (of(operations::REGISTRY_GET, r#"{"servce": "x"}"#), "`service` is missing"),
        (of(operations::REGISTRY_LIST, GREETER), "registry.list: unknown field \"service\""),
        (
            of(operations::REGISTRY_GET, r#"{"service": "x", "servic": "y"}"#),
            "registry.get: unknown field \"servic\": did you mean `service`?",
        ),
        (
            of(operations::REGISTRY_REGISTER, r#"{"service": {"nodes": 1}}"#),
            "registry.register: service: this is not a registry record",
        ),
        (Question { flags: 1, ..of(operations::REGISTRY_LIST, "") }, "flags 0x1"),
        (Question { meta: b"x", ..of(operations::REGISTRY_LIST, "") }, "metadata"),
    ];
    for (question, text) in wrong {
        let failure = client.ask(&host.queue, question, 1).unwrap_err();
        assert_eq!(failure.status().code(), Some(Code::InvalidArgument));
        assert!(failure.message().contains(text), "{text}: {failure}");
    }
    let list = of(operations::REGISTRY_LIST, "");
    let failure = client.follow(&host.queue, list, 1).unwrap_err();
    assert!(failure.message().contains("registry.list is asked, not followed"), "{failure}");
    assert!(host.quiet());
    host.end();
}

#[test]
fn a_payload_or_metadata_that_an_operation_does_not_take_is_refused() {
    let host = Host::new();
    let client = host.client("");
    let mut metadata = Metadata::new();
    metadata.append("tenant", "blue").unwrap();
    let meta = pack(&metadata);
    let payload = Bytes::from_static(b"x");
    let refused = |failure: Failure, text: &str| {
        assert_eq!(failure.status(), INVALID_ARGUMENT);
        assert!(failure.message().contains(text), "{text}: {failure}");
    };
    let list = || of(operations::REGISTRY_LIST, "");
    let question = Question { payload: payload.clone(), ..list() };
    let failure = client.ask(&host.queue, question, 1).unwrap_err();
    refused(failure, "registry.list takes no payload");
    let failure = client.ask(&host.queue, Question { meta: &meta, ..list() }, 1).unwrap_err();
    refused(failure, "registry.list takes no metadata");
    let watch = || of(operations::REGISTRY_WATCH, "");
    let failure = client.follow(&host.queue, Question { payload, ..watch() }, 1).unwrap_err();
    refused(failure, "registry.watch takes no payload");
    let failure = client.follow(&host.queue, Question { meta: &meta, ..watch() }, 1).unwrap_err();
    refused(failure, "registry.watch takes no metadata");
    assert!(host.quiet());
    host.end();
}

#[test]
fn a_question_is_over_at_its_deadline_and_so_is_what_it_asked() {
    let host = Host::new();
    let client = of_silence(&host, "deadline");
    let timeout_ns = nanos(Duration::from_millis(30));
    let question = Question { timeout_ns, ..of(operations::REGISTRY_LIST, "") };
    client.ask(&host.queue, question, 1).unwrap();
    let call = host.next(EventKind::Call);
    assert_eq!((call.token, call.method), (900, operations::REGISTRY_LIST));
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.token, reply.status), (1, DEADLINE_EXCEEDED));
    assert!(reply.failure.unwrap().message().contains("registry.list"));
    assert_eq!(host.next(EventKind::CallCancelled).id, call.id);
    let question = Question { timeout_ns, ..of(operations::REGISTRY_WATCH, "") };
    client.follow(&host.queue, question, 2).unwrap();
    let end = host.next(EventKind::End);
    assert_eq!((end.token, end.status), (2, DEADLINE_EXCEEDED));
    host.end();
}

#[test]
fn a_question_ends_with_the_call_it_is_part_of() {
    let host = Host::new();
    let silent = of_silence(&host, "parent");
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    client.call(&host.queue, echo("greeter"), 1).unwrap();
    let call = host.next(EventKind::Call);
    let asked =
        |operation| Question { parent: call.id, timeout_ns: NO_TIMEOUT, ..of(operation, "") };
    silent.ask(&host.queue, asked(operations::REGISTRY_LIST), 2).unwrap();
    silent.follow(&host.queue, asked(operations::REGISTRY_WATCH), 3).unwrap();
    host.runtime.reply(call.id, Ok("done".into()), &[]).unwrap();
    let mut ended: Vec<_> = (0..3)
        .map(|_| {
            loop {
                let event = host.any();
                if matches!(event.kind, EventKind::Reply | EventKind::End) {
                    break (event.token, event.status);
                }
            }
        })
        .collect();
    ended.sort_by_key(|(token, _)| *token);
    assert_eq!(ended, [(1, Status::OK), (2, CANCELLED), (3, CANCELLED)]);
    let late = silent.ask(&host.queue, asked(operations::REGISTRY_LIST), 4).unwrap_err();
    assert_eq!(late.status(), CANCELLED);
    host.end();
}

#[test]
fn a_question_has_no_more_time_than_the_call_it_is_part_of() {
    let host = Host::new();
    let silent = of_silence(&host, "inherited");
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let timeout_ns = nanos(Duration::from_millis(200));
    client.call(&host.queue, Request { timeout_ns, ..echo("greeter") }, 1).unwrap();
    let parent = host.next(EventKind::Call).id;
    silent.ask(&host.queue, Question { parent, ..of(operations::REGISTRY_LIST, "") }, 2).unwrap();
    let question = host.next(EventKind::Call);
    assert!(question.timeout_ns < timeout_ns, "{}", question.timeout_ns);
    host.end();
}

#[test]
fn what_is_followed_and_asked_takes_no_place_of_a_call() {
    let host = Host::new();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let client = host.client(r#", "max_in_flight": 1"#);
    client.follow(&host.queue, of(operations::REGISTRY_WATCH, ""), 1).unwrap();
    host.next(EventKind::Opened);
    client.ask(&host.queue, of(operations::CLIENT_STATS, ""), 2).unwrap();
    client.call(&host.queue, echo("greeter"), 3).unwrap();
    let full = client.call(&host.queue, echo("greeter"), 4).unwrap_err();
    assert_eq!(full.status(), Status::FULL);
    host.end();
}

#[test]
fn a_question_waits_for_a_place_until_its_deadline() {
    let host = Host::new();
    let client = of_silence(&host, "full");
    let list = || of(operations::REGISTRY_LIST, "");
    let waiting = || Question { flags: request_flags::WAIT, ..list() };
    let ids: Vec<_> =
        (0..1024).map(|token| client.ask(&host.queue, list(), token).unwrap()).collect();
    assert_eq!(client.ask(&host.queue, list(), 0).unwrap_err().status(), Status::FULL);
    let timeout_ns = nanos(Duration::from_millis(30));
    client.ask(&host.queue, Question { timeout_ns, ..waiting() }, 2000).unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.token, reply.status), (2000, DEADLINE_EXCEEDED));
    // One that has its place ends, and the next begins once the host has heard of it.
    let patient = client.ask(&host.queue, waiting(), 2001).unwrap();
    host.runtime.cancel(ids[0]).unwrap();
    assert_eq!(host.next(EventKind::Reply).token, 0);
    host.runtime.cancel(patient).unwrap();
    assert_eq!(host.next(EventKind::Reply).token, 2001);
    host.end();
}

#[test]
fn a_call_waits_for_a_place_no_longer_than_it_has_time() {
    let host = Host::new();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let client = host.client(r#", "max_in_flight": 1"#);
    client.call(&host.queue, Request { timeout_ns: NO_TIMEOUT, ..echo("greeter") }, 1).unwrap();
    let waiting = Request {
        flags: request_flags::WAIT,
        timeout_ns: nanos(Duration::from_millis(30)),
        ..echo("greeter")
    };
    client.call(&host.queue, waiting, 2).unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.token, reply.status), (2, DEADLINE_EXCEEDED));
    assert!(reply.failure.unwrap().message().contains("max_in_flight"));
    host.end();
}
