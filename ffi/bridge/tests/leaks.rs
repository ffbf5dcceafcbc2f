//! Whatever was made is gone when its host has let go of it. Alone in its process, because the counts are the process's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use host::{GREETER, Host, echo, of};
use micro_bridge::{EventKind, Shape, live, operations};

#[test]
fn nothing_is_left_of_runtimes_that_ended_with_work_under_way() {
    for round in 0..20 {
        let host = Host::new();
        let endpoints = [("Greeter.Hello", Shape::Unary), ("Greeter.Talk", Shape::BidiStream)];
        let client = host.serve("greeter", &endpoints);
        for token in 0..50 {
            client.call(&host.queue, echo("greeter"), token).unwrap();
        }
        let mut talk = echo("greeter");
        talk.endpoint = "Greeter.Talk";
        talk.payload = Default::default();
        let stream = client.open(&host.queue, talk, Shape::BidiStream, 100).unwrap();
        host.runtime.send(stream, "first".into(), false).unwrap();
        client.follow(&host.queue, of(operations::REGISTRY_WATCH, GREETER), 101).unwrap();
        if round % 2 == 0 {
            // Answered, forgotten by a host that saw it, and never seen.
            let call = host.next(EventKind::Call);
            let _ = host.runtime.reply(call.id, Ok("".into()), &[]);
        }
        assert!(live::count(live::OPERATION) > 0);
        drop(client);
        host.end();
    }
    let left: Vec<_> =
        (1..=8).map(|kind| (kind, live::count(kind))).filter(|(_, n)| *n > 0).collect();
    assert!(left.is_empty(), "left: {left:?}");
}
