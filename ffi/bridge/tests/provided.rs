//! A registry that a host provides: found by URL, asked as the core asks any other, and never left without an answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use std::sync::Arc;
use std::time::Duration;

use host::{GREETER, Host, echo, of};
use micro_bridge::core::registry::{Memory, Registry as _, Service};
use micro_bridge::core::{Code, Error};
use micro_bridge::{
    Client, Event, EventKind, Headers, Id, Queue, Runtime, Server, Shape, Status, operations,
    provided,
};
use serde_json::{Value, json};

const UNAVAILABLE: Status = Status(14);

/// The arguments of a question.
fn args(question: &Event) -> Value {
    let mut entries = Headers::new(&question.meta);
    let found = entries.find(|(name, _)| *name == provided::ARGS.as_bytes());
    serde_json::from_slice(found.expect("arguments").1).unwrap()
}

fn provide(host: &Host, name: &str) -> Id {
    host.runtime.provide(provided::area::REGISTRY, name, &host.queue, 900).unwrap()
}

fn client_of(host: &Host, name: &str) -> Client {
    Client::new(&host.runtime, &format!(r#"{{"registry": "host://{name}"}}"#)).unwrap()
}

/// A host of its own thread that keeps its records in memory, until the runtime ends.
fn keep_records(runtime: &Runtime, name: &str) -> std::thread::JoinHandle<()> {
    let queue = runtime.new_queue().unwrap();
    runtime.provide(provided::area::REGISTRY, name, &queue, 1).unwrap();
    let runtime = runtime.clone();
    std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let records = Memory::new();
        let mut open = true;
        while open {
            queue.wait(64, None, |event| match event.kind {
                EventKind::Call => {
                    tokio.spawn(answer(runtime.clone(), queue.clone(), records.clone(), event));
                }
                EventKind::Closed => open = false,
                _ => {}
            });
        }
    })
}

async fn answer(runtime: Runtime, queue: Arc<Queue>, records: Memory, question: Event) {
    let args = args(&question);
    let name = || args["service"].as_str().unwrap().to_owned();
    let record = || serde_json::from_value::<Service>(args["service"].clone()).unwrap();
    let json = |value: Value| Ok(value.to_string().into_bytes().into());
    let answer: Result<bytes::Bytes, Error> = match question.method {
        operations::REGISTRY_GET => records.get(&name()).await.and_then(|found| json(json!(found))),
        operations::REGISTRY_LIST => records.list().await.and_then(|found| json(json!(found))),
        operations::REGISTRY_REGISTER => {
            let ttl = args["ttl"].as_u64().map(Duration::from_millis);
            records.register(&record(), ttl).await.map(|()| bytes::Bytes::new())
        }
        operations::REGISTRY_DEREGISTER => {
            records.deregister(&record()).await.map(|()| bytes::Bytes::new())
        }
        operations::REGISTRY_WATCH => {
            let mut watcher = records.watch(args["service"].as_str()).await.unwrap();
            runtime.send(question.id, bytes::Bytes::new(), false).unwrap();
            while let Ok(change) = watcher.next().await {
                let change = serde_json::to_vec(&change).unwrap();
                if runtime.send(question.id, change.into(), false).is_err() {
                    return;
                }
            }
            Err(Error::unavailable("the records are gone"))
        }
        _ => Err(Error::unimplemented("no such question")),
    };
    let _ = (runtime.reply(question.id, answer, &[]), queue.is_open());
}

#[test]
fn a_fleet_meets_in_a_registry_of_the_hosts_own() {
    let host = Host::new();
    let records = keep_records(&host.runtime, "fleet");
    let options = r#"{"registry": "host://fleet", "address": "127.0.0.1:0", "grace": "1s"}"#;
    let client = client_of(&host, "fleet");
    let watch = client.follow(&host.queue, of(operations::REGISTRY_WATCH, GREETER), 5).unwrap();
    assert_eq!(host.next(EventKind::Opened).id, watch);
    host.runtime.grant(watch, 10).unwrap();

    let server = Server::new(&host.runtime, "greeter", options).unwrap();
    server.method("Greeter.Hello", Shape::Unary, "").unwrap();
    server.start(&host.queue, 100).unwrap();
    assert_eq!(host.next(EventKind::Opened).token, 100);
    let change = host.next(EventKind::Change);
    assert!(String::from_utf8_lossy(&change.payload).contains("\"create\""));

    client.call(&host.queue, echo("greeter"), 6).unwrap();
    let call = host.next(EventKind::Call);
    host.runtime.reply(call.id, Ok("Hello".into()), &[]).unwrap();
    assert_eq!(&host.next(EventKind::Reply).payload[..], b"Hello");
    server.stop().unwrap();
    assert_eq!(host.next(EventKind::End).token, 100);
    let change = host.next(EventKind::Change);
    assert!(String::from_utf8_lossy(&change.payload).contains("\"delete\""));
    host.end();
    records.join().unwrap();
}

#[test]
fn a_name_is_one_registrys_until_it_is_withdrawn() {
    let host = Host::new();
    let refused = |name: &str| Client::new(&host.runtime, &format!(r#"{{"registry": "{name}"}}"#));
    let before = refused("host://taken").unwrap_err();
    assert_eq!(before.status().code(), Some(Code::InvalidArgument));
    assert!(before.message().contains("provide it first"), "{before}");
    let id = provide(&host, "taken");
    let area = provided::area::REGISTRY;
    let again = host.runtime.provide(area, "taken", &host.queue, 1).unwrap_err();
    assert_eq!(again.status().code(), Some(Code::AlreadyExists));
    assert!(refused("host://other").unwrap_err().message().contains("host://taken"));

    let client = client_of(&host, "taken");
    host.runtime.cancel(id).unwrap();
    let end = host.next(EventKind::End);
    assert_eq!((end.id, end.status), (id, Status(1)));
    client.ask(&host.queue, of(operations::REGISTRY_LIST, ""), 2).unwrap();
    assert_eq!(host.next(EventKind::Reply).status, UNAVAILABLE);
    // The same name, and what was opened by it works again.
    provide(&host, "taken");
    client.ask(&host.queue, of(operations::REGISTRY_LIST, ""), 3).unwrap();
    let question = host.next(EventKind::Call);
    host.runtime.reply(question.id, Ok("[]".into()), &[]).unwrap();
    assert_eq!(&host.next(EventKind::Reply).payload[..], b"[]");
    host.end();
}

#[test]
fn names_and_areas_that_cannot_be_are_refused() {
    let host = Host::new();
    let area = provided::area::REGISTRY;
    for name in ["", "a/b", "a b", "\u{e9}", &"x".repeat(129)] {
        let failure = host.runtime.provide(area, name, &host.queue, 1).unwrap_err();
        assert_eq!(failure.status(), Status::ARG, "{name:?}");
    }
    for area in [0, 1, 3, u32::MAX] {
        let failure = host.runtime.provide(area, "fine", &host.queue, 1).unwrap_err();
        assert!(failure.message().contains("0x02"), "{failure}");
    }
    host.end();
}

#[test]
fn what_cannot_be_read_is_told_with_the_name_of_the_registry() {
    let host = Host::new();
    provide(&host, "babel");
    let client = client_of(&host, "babel");
    for answer in ["", "{}", "no JSON"] {
        client.ask(&host.queue, of(operations::REGISTRY_LIST, ""), 1).unwrap();
        let question = host.next(EventKind::Call);
        host.runtime.reply(question.id, Ok(answer.into()), &[]).unwrap();
        let failure = host.next(EventKind::Reply).failure.unwrap();
        assert_eq!(failure.status().code(), Some(Code::Internal));
        assert!(failure.message().contains("host://babel answered registry.list"), "{failure}");
    }
    // An error of the registry's own comes as it is.
    client.ask(&host.queue, of(operations::REGISTRY_LIST, ""), 2).unwrap();
    let question = host.next(EventKind::Call);
    host.runtime.reply(question.id, Err(Error::permission_denied("no entry")), &[]).unwrap();
    let failure = host.next(EventKind::Reply).failure.unwrap();
    assert_eq!((failure.status(), failure.message()), (Status(7), "no entry"));
    // Nothing found is the same as not found.
    client.ask(&host.queue, of(operations::REGISTRY_GET, GREETER), 3).unwrap();
    let question = host.next(EventKind::Call);
    assert_eq!(args(&question), json!({"service": "greeter"}));
    host.runtime.reply(question.id, Ok("[]".into()), &[]).unwrap();
    assert_eq!(host.next(EventKind::Reply).status, Status(5));
    host.end();
}

#[test]
fn a_watch_that_is_not_announced_or_breaks_off_ends() {
    let host = Host::new();
    provide(&host, "watched");
    let client = client_of(&host, "watched");
    let follow =
        |token| client.follow(&host.queue, of(operations::REGISTRY_WATCH, ""), token).unwrap();
    // Ended before its first message.
    follow(1);
    let question = host.next(EventKind::Call);
    host.runtime.reply(question.id, Ok("".into()), &[]).unwrap();
    assert_eq!(host.next(EventKind::End).status, Status(13));
    // Ended after it, and after a change that is none.
    for wrong in [None, Some("no change")] {
        let id = follow(2);
        let question = host.next(EventKind::Call);
        host.runtime.send(question.id, "".into(), false).unwrap();
        assert_eq!(host.next(EventKind::Opened).id, id);
        match wrong {
            Some(change) => host.runtime.send(question.id, change.into(), false).unwrap(),
            None => host.runtime.reply(question.id, Ok("".into()), &[]).unwrap(),
        }
        let end = host.next(EventKind::End);
        assert_eq!((end.id, end.status), (id, Status(10)));
        if wrong.is_some() {
            // It would have gone on.
            assert_eq!(host.next(EventKind::CallCancelled).id, question.id);
        }
    }
    // The host hears that its reader has left.
    let id = follow(3);
    let question = host.next(EventKind::Call);
    host.runtime.send(question.id, "".into(), false).unwrap();
    assert_eq!(host.next(EventKind::Opened).id, id);
    host.runtime.cancel(id).unwrap();
    assert_eq!(host.next(EventKind::CallCancelled).id, question.id);
    host.end();
}

#[test]
fn a_question_that_the_host_never_sees_is_answered() {
    let host = Host::new();
    let aside = host.runtime.new_queue().unwrap();
    host.runtime.provide(provided::area::REGISTRY, "unseen", &aside, 1).unwrap();
    let client = client_of(&host, "unseen");
    client.ask(&host.queue, of(operations::REGISTRY_LIST, ""), 1).unwrap();
    let begun = std::time::Instant::now();
    while aside.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    aside.close().unwrap();
    let reply = host.next(EventKind::Reply);
    assert_eq!((reply.token, reply.status), (1, Status(13)));
    assert!(reply.failure.unwrap().message().contains("dropped the call"));
    host.end();
}
