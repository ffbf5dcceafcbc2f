//! What a host may rely on, seen as a host sees it: submit, drain, look.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use std::time::Duration;

use host::{GREETER, Host, echo, of};
use micro_bridge::{EventKind, Id, Request, Shape, Status, flags, operations, request_flags};

#[test]
fn unary_calls_come_in_and_are_answered() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let request = Request {
        service: "greeter",
        endpoint: "Greeter.Hello",
        payload: "Ada".into(),
        flags: u32::from(flags::JSON),
        ..Request::default()
    };
    let id = client.call(&host.queue, request, 7).unwrap();
    let call = host.next(EventKind::Call);
    assert_eq!((&call.payload[..], call.flags, call.method), (&b"Ada"[..], flags::JSON, 0));
    assert!(call.timeout_ns < 5_000_000_000, "{}", call.timeout_ns);
    host.runtime.reply(call.id, Ok("Hello, Ada!".into()), &[]).unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.id, reply.token, reply.status), (id, 7, Status::OK));
    assert_eq!(&reply.payload[..], b"Hello, Ada!");
    let again = host.runtime.reply(call.id, Ok("again".into()), &[]).unwrap_err();
    assert_eq!(again.status(), Status::STALE);
    assert_eq!(host.runtime.cancel(id).unwrap_err().status(), Status::STALE);
    host.end();
}

#[test]
fn a_grace_longer_than_clocks_can_count_ends_with_the_work() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    client.call(&host.queue, echo("greeter"), 1).unwrap();
    let call = host.next(EventKind::Call);
    host.runtime.shutdown(Duration::MAX).unwrap();
    host.runtime.reply(call.id, Ok("done".into()), &[]).unwrap();
    assert_eq!(host.next(EventKind::Reply).status, Status::OK);
    host.next(EventKind::Closed);
    host.end();
}

#[test]
fn failures_carry_everything_the_handler_said() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    client.call(&host.queue, echo("greeter"), 1).unwrap();
    let call = host.next(EventKind::Call);
    let error = micro_bridge::core::Error::not_found("no person of that name").with_id("people");
    let mut trailers = micro_bridge::core::Metadata::new();
    trailers.append("hint", "ask-again").unwrap();
    host.runtime.reply(call.id, Err(error), &micro_bridge::pack(&trailers)).unwrap();
    let reply = host.next(EventKind::Reply);
    let failure = reply.failure.unwrap();
    assert_eq!((reply.status, failure.id(), failure.http_code()), (Status(5), "people", 404));
    assert_eq!(failure.message(), "no person of that name");
    assert_eq!(failure.origin().unwrap().attempts, 1);
    let headers = micro_bridge::Headers::new(&reply.meta);
    let mut trailers = headers.clone();
    trailers.by_ref().for_each(drop);
    let hint = micro_bridge::Headers::new(trailers.rest()).find(|(name, _)| *name == b"hint");
    assert_eq!(hint, Some((&b"hint"[..], &b"ask-again"[..])));
    host.end();
}

#[test]
fn a_call_is_cancelled_at_any_moment_and_ends_once() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let id = client.call(&host.queue, echo("greeter"), 1).unwrap();
    let call = host.next(EventKind::Call);
    host.runtime.cancel(id).unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.id, reply.status), (id, Status(1)));
    assert_eq!(host.next(EventKind::CallCancelled).id, call.id);
    let late = host.runtime.reply(call.id, Ok("late".into()), &[]).unwrap_err();
    assert_eq!(late.status(), Status::STALE);
    // At once: it may not have begun.
    let id = client.call(&host.queue, echo("greeter"), 2).unwrap();
    host.runtime.cancel(id).unwrap();
    assert_eq!(host.next(EventKind::Reply).token, 2);
    host.end();
}

#[test]
fn a_deadline_ends_both_sides() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let request = Request { timeout_ns: 50_000_000, ..echo("greeter") };
    client.call(&host.queue, request, 1).unwrap();
    let call = host.next(EventKind::Call);
    assert!(call.timeout_ns <= 50_000_000);
    assert_eq!(host.next(EventKind::Reply).status, Status(4));
    let over = host.next(EventKind::CallCancelled);
    // The caller gives up at the same moment, and its word may come first.
    assert!(over.id == call.id && [Status(1), Status(4)].contains(&over.status), "{over:?}");
    host.end();
}

#[test]
fn what_is_part_of_a_call_inherits_from_it_and_ends_with_it() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let mut metadata = micro_bridge::core::Metadata::new();
    metadata.append("tenant", "blue").unwrap();
    let meta = micro_bridge::pack(&metadata);
    let request = Request { timeout_ns: 2_000_000_000, meta: &meta, ..echo("greeter") };
    let outer = client.call(&host.queue, request, 1).unwrap();
    let first = host.next(EventKind::Call);
    let inner = Request { parent: first.id, timeout_ns: 60_000_000_000, ..echo("greeter") };
    client.call(&host.queue, inner.clone(), 2).unwrap();
    let second = host.next(EventKind::Call);
    assert!(second.timeout_ns <= first.timeout_ns, "deadlines are never extended");
    let tenant = micro_bridge::Headers::new(&second.meta).find(|(name, _)| *name == b"tenant");
    assert_eq!(tenant.unwrap().1, b"blue");
    host.runtime.cancel(outer).unwrap();
    let ended = [host.next(EventKind::Reply), host.next(EventKind::Reply)];
    assert!(ended.iter().all(|event| event.status == Status(1)));
    host.next(EventKind::CallCancelled);
    host.next(EventKind::CallCancelled);
    let failure = client.call(&host.queue, inner, 3).unwrap_err();
    assert_eq!(failure.status(), Status(1), "{failure}");
    host.end();
}

#[test]
fn streams_go_both_ways_by_credit() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::BidiStream)]);
    let request = Request { payload: Default::default(), ..echo("greeter") };
    let stream = client.open(&host.queue, request, Shape::BidiStream, 9).unwrap();
    for n in 0..3 {
        host.runtime.send(stream, format!("{n}").into(), n == 2).unwrap();
    }
    assert_eq!(host.runtime.send(stream, "3".into(), false).unwrap_err().status(), Status::CLOSED);
    let call = host.next(EventKind::Call);
    assert!(host.quiet(), "nothing was granted");
    host.runtime.grant(call.id, 10).unwrap();
    for n in 0..3 {
        let message = host.next(EventKind::Message);
        assert_eq!((message.id, &message.payload[..]), (call.id, format!("{n}").as_bytes()));
        host.runtime.send(call.id, message.payload, false).unwrap();
    }
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.status), (call.id, Status::OK));
    host.next(EventKind::Opened);
    host.runtime.grant(stream, 2).unwrap();
    assert_eq!(host.next(EventKind::Message).payload, "0");
    assert_eq!(host.next(EventKind::Message).payload, "1");
    host.runtime.reply(call.id, Ok(Default::default()), &[]).unwrap();
    assert!(host.quiet(), "the third was not granted");
    host.runtime.grant(stream, 1).unwrap();
    assert_eq!(host.next(EventKind::Message).payload, "2");
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.token, end.status), (stream, 9, Status::OK));
    host.end();
}

#[test]
fn a_stream_of_requests_has_one_answer() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::ClientStream)]);
    let request = Request { payload: Default::default(), ..echo("greeter") };
    let stream = client.open(&host.queue, request, Shape::ClientStream, 9).unwrap();
    host.runtime.grant(stream, 1).unwrap();
    host.runtime.send(stream, "a".into(), false).unwrap();
    host.runtime.close(stream).unwrap();
    let call = host.next(EventKind::Call);
    host.runtime.grant(call.id, 8).unwrap();
    assert_eq!(host.next(EventKind::Message).payload, "a");
    assert_eq!(host.next(EventKind::End).id, call.id);
    host.runtime.reply(call.id, Ok("sum".into()), &[]).unwrap();
    assert_eq!(host.next(EventKind::Message).payload, "sum");
    assert_eq!(host.next(EventKind::End).id, stream);
    host.end();
}

#[test]
fn a_sender_that_is_too_fast_is_told_to_wait_and_when_to_go_on() {
    let host = Host::new();
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::ServerStream)]);
    let stream = client.open(&host.queue, echo("greeter"), Shape::ServerStream, 9).unwrap();
    let call = host.next(EventKind::Call);
    let message = vec![7u8; 32 * 1024];
    let mut sent = 0;
    let failure = loop {
        match host.runtime.send(call.id, message.clone().into(), false) {
            Ok(()) => sent += 1,
            Err(failure) => break failure,
        }
        assert!(sent < 10_000, "nothing holds the sender back");
    };
    assert_eq!(failure.status(), Status::FULL);
    host.next(EventKind::Opened);
    host.runtime.grant(stream, 20_000).unwrap();
    // The reader is fast again, so there is room again.
    let mut received = 0;
    loop {
        let event = host.any();
        match event.kind {
            EventKind::Message => received += 1,
            EventKind::Writable => {
                assert_eq!(event.id, call.id);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    host.runtime.reply(call.id, Ok(Default::default()), &[]).unwrap();
    while received < sent {
        assert_eq!(host.next(EventKind::Message).payload.len(), message.len());
        received += 1;
    }
    assert_eq!(host.next(EventKind::End).status, Status::OK);
    host.end();
}

#[test]
fn an_unanswered_call_is_answered_when_its_queue_closes() {
    let host = Host::new();
    let other = Host::on(&host.runtime);
    let client = host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    client.call(&other.queue, echo("greeter"), 1).unwrap();
    host.wait_for_something();
    host.queue.close().unwrap();
    let reply = other.next(EventKind::Reply);
    assert_eq!(
        (reply.status, reply.failure.unwrap().message()),
        (Status(13), "handler dropped the call")
    );
    other.end();
}

#[test]
fn a_client_with_enough_under_way_is_full_until_the_host_drains() {
    let host = Host::new();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let client = host.client(r#", "max_in_flight": 2"#);
    client.call(&host.queue, echo("greeter"), 1).unwrap();
    client.call(&host.queue, echo("greeter"), 2).unwrap();
    let failure = client.call(&host.queue, echo("greeter"), 3).unwrap_err();
    assert_eq!(failure.status(), Status::FULL);
    let patient = Request { flags: request_flags::WAIT, ..echo("greeter") };
    client.call(&host.queue, patient, 4).unwrap();
    let mut replies = Vec::new();
    while replies.len() < 3 {
        let event = host.any();
        match event.kind {
            EventKind::Call => host.runtime.reply(event.id, Ok("".into()), &[]).unwrap(),
            EventKind::Reply => replies.push(event.token),
            other => panic!("{other:?}"),
        }
    }
    replies.sort_unstable();
    assert_eq!(replies, [1, 2, 4]);
    host.end();
}

#[test]
fn a_panic_inside_arrives_as_a_status() {
    let host = Host::new();
    host.runtime.panic_inside(&host.queue, 3).unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.token, reply.status), (3, Status::PANIC));
    assert!(reply.failure.unwrap().message().contains("asked for by a test"));
    host.end();
}

#[test]
fn ten_thousand_calls_under_way_all_end_when_the_runtime_does() {
    let host = Host::new();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let client = host.client(r#", "max_in_flight": 10000, "timeout": null"#);
    for token in 0..10_000 {
        client.call(&host.queue, echo("greeter"), token).unwrap();
    }
    host.next(EventKind::Call);
    host.runtime.shutdown(Duration::ZERO).unwrap();
    let mut ended = vec![0; 10_000];
    loop {
        let event = host.any();
        match event.kind {
            EventKind::Reply => ended[event.token as usize] += 1,
            EventKind::Closed => break,
            _ => {}
        }
    }
    assert!(ended.iter().all(|times| *times == 1));
    assert!(host.queue.is_empty());
    assert_eq!(client.call(&host.queue, echo("greeter"), 0).unwrap_err().status(), Status::CLOSED);
    drop(client);
    host.end();
}

#[test]
fn an_endless_grace_ends_when_what_runs_does() {
    let host = Host::new();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    host.runtime.shutdown(Duration::MAX).unwrap();
    while host.any().kind != EventKind::Closed {}
    host.end();
}

#[test]
fn a_watch_tells_changes_that_were_granted() {
    let host = Host::new();
    let client = host.client("");
    let watch = client.follow(&host.queue, of(operations::REGISTRY_WATCH, GREETER), 5).unwrap();
    assert_eq!(host.next(EventKind::Opened).id, watch);
    host.runtime.grant(watch, 1).unwrap();
    host.serve("greeter", &[("Greeter.Hello", Shape::Unary)]);
    let change = host.next(EventKind::Change);
    assert!(String::from_utf8_lossy(&change.payload).contains("\"create\""));
    client.ask(&host.queue, of(operations::REGISTRY_GET, GREETER), 6).unwrap();
    let found = host.next(EventKind::Reply);
    assert!(String::from_utf8_lossy(&found.payload).contains("Greeter.Hello"));
    client.ask(&host.queue, of(operations::CLIENT_HEALTH, GREETER), 8).unwrap();
    let health = host.next(EventKind::Reply);
    assert!(String::from_utf8_lossy(&health.payload).contains("true"), "{health:?}");
    host.runtime.cancel(watch).unwrap();
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.status), (watch, Status(1)));
    host.end();
}

#[test]
fn a_wake_up_is_given_back_at_the_end_and_never_used_after_it() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    let host = Host::new();
    let (gone, was_dropped) = mpsc::channel::<()>();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    host.queue
        .set_wake(micro_bridge::Callback(move || {
            let _ = &gone;
            count.fetch_add(1, Ordering::SeqCst);
        }))
        .unwrap();
    host.runtime.panic_inside(&host.queue, 1).unwrap();
    host.next(EventKind::Reply);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    host.runtime.shutdown(Duration::ZERO).unwrap();
    host.next(EventKind::Closed);
    assert!(was_dropped.recv().is_err(), "dropped, and so the channel ended");
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    let failure = host.queue.set_wake(micro_bridge::Callback(|| ())).unwrap_err();
    assert_eq!(failure.status(), Status::CLOSED);
    host.end();
}

#[test]
fn wrong_requests_are_refused_before_anything_begins() {
    let host = Host::new();
    let client = host.client("");
    let wrong = [
        Request { flags: 0x8000_0000, ..echo("greeter") },
        Request { flags: 9, ..echo("greeter") },
        Request { meta: b"x", ..echo("greeter") },
        Request { options: "{\"timeot\": 1}", ..echo("greeter") },
        Request {
            flags: request_flags::IDEMPOTENT | request_flags::NOT_IDEMPOTENT,
            ..echo("greeter")
        },
    ];
    for request in wrong {
        let failure = client.call(&host.queue, request, 1).unwrap_err();
        assert_eq!(failure.status().code().unwrap(), micro_bridge::core::Code::InvalidArgument);
    }
    let unknown = of(operations::REGISTRY_GET, r#"{"service": "nobody"}"#);
    let parent = client.ask(&host.queue, unknown, 1).unwrap();
    let request = Request { parent, ..echo("greeter") };
    assert!(!client.call(&host.queue, request, 2).unwrap_err().status().is_ok());
    assert_eq!(host.next(EventKind::Reply).status, Status(5));
    for stale in [Id::NONE, Id::from_raw(u64::MAX), parent] {
        assert_eq!(host.runtime.grant(stale, 1).unwrap_err().status(), Status::STALE);
        assert_eq!(host.runtime.send(stale, "".into(), false).unwrap_err().status(), Status::STALE);
    }
    host.end();
}
