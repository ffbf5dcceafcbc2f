//! Work over the border that is no call: runs of jobs, tasks whose answers are asked for, functions, and events of CloudEvents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod host;

use std::collections::BTreeMap;

use bytes::Bytes;
use host::{Host, of};
use micro_bridge::{
    Client, Event, EventKind, Headers, Publication, Server, Status, flags, operations, verdict,
};
use serde_json::Value;

/// What is known of a run or a message beside its headers, and those.
fn known(event: &Event) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let read = |block| Headers::new(block).map(|(name, value)| (text(name), text(value))).collect();
    (read(Headers::after(&event.meta)), read(&event.meta))
}

/// A service with a durable broker that is not started yet.
fn service(host: &Host, folder: &tempfile::TempDir, more: &str) -> Server {
    let name = folder.path().display();
    let options = format!(
        r#"{{ "registry": "memory://{name}", "network": "memory://{name}", "address": "127.0.0.1:0", "grace": "1s",
            "broker": "durable://{name}" {more} }}"#
    );
    Server::new(&host.runtime, "shop", &options).unwrap()
}

fn started(host: &Host, server: &Server) -> Client {
    server.start(&host.queue, 100).unwrap();
    host.next(EventKind::Opened);
    server.client().unwrap()
}

fn message<'a>(topic: &'a str, body: &'static str, options: &'a str) -> Publication<'a> {
    let payload = body.into();
    Publication { topic, payload, options, flags: flags::JSON.into(), ..Publication::default() }
}

fn asked(host: &Host, client: &Client, operation: u32, args: &str) -> Event {
    client.ask(&host.queue, of(operation, args), 9).unwrap();
    host.next(EventKind::Reply)
}

fn answer(host: &Host, call: &Event, answer: &'static str) {
    host.runtime.reply(call.id, Ok(Bytes::from(answer)), &[]).unwrap();
}

#[test]
fn a_run_of_a_job_is_a_call_whose_end_is_written_down() {
    let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
    let server = service(&host, &folder, "");
    let job = r#"{"every": "1s", "name": "clean", "max_attempts": 2, "backoff": "none"}"#;
    assert_eq!(server.job(job).unwrap(), 0);
    let client = started(&host, &server);
    let first = host.next(EventKind::Call);
    assert_eq!((first.method, first.payload.len()), (0, 0));
    let (run, _) = known(&first);
    assert_eq!((&*run["job"], &*run["attempt"]), ("clean", "1"));
    assert!(run["time"].parse::<u64>().unwrap() > 1_700_000_000_000);
    host.runtime.settle(first.id, verdict::RETRY, 0, "the disk is full").unwrap();
    let again = host.next(EventKind::Call);
    let (second, _) = known(&again);
    assert_eq!((&second["time"], &*second["attempt"]), (&run["time"], "2"));
    answer(&host, &again, "");
    // The next run begins when that was written down.
    let next = host.next(EventKind::Call);
    let told = asked(&host, &client, operations::SERVICE_JOBS, "");
    let told: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!((&told[0]["name"], &told[0]["schedule"]), (&"clean".into(), &"every 1s".into()));
    let outcomes = |at: usize| {
        let run = &told[0]["runs"][at];
        (run["attempt"].as_u64(), run["outcome"].as_str(), run["error"].as_str())
    };
    assert_eq!(outcomes(0), (Some(1), Some("failed"), Some("ABORTED: the disk is full")));
    assert_eq!(outcomes(1), (Some(2), Some("done"), None));
    answer(&host, &next, "");
    host.end();
}

#[test]
fn what_is_wrong_with_a_job_is_told_before_or_at_the_start() {
    let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
    let server = service(&host, &folder, "");
    for (options, hint) in [
        ("", "write `every` or `cron`"),
        (r#"{"evry": "1s"}"#, "did you mean `every`?"),
        (r#"{"every": "1s", "missed": "twice"}"#, "write one of"),
    ] {
        let error = server.job(options).unwrap_err();
        assert!(error.to_string().contains(hint), "{options}: {error}");
    }
    server.job(r#"{"cron": "99 3 * * *", "name": "clean"}"#).unwrap();
    server.start(&host.queue, 100).unwrap();
    let end = host.next(EventKind::End);
    let error = end.failure.unwrap().to_string();
    assert!(error.contains("the job \"clean\""), "{error}");
    host.end();
}

#[test]
fn the_answer_of_a_task_is_asked_for_by_its_id() {
    let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
    let server = service(&host, &folder, "");
    let worker = r#"{"task": true, "max_attempts": 2, "backoff": "none"}"#;
    assert_eq!(server.subscribe("double", worker).unwrap(), 0);
    let client = started(&host, &server);
    let send = || {
        client.publish(&host.queue, message("double", "7", r#"{"task": true}"#), 8).unwrap();
        let id = host.next(EventKind::Reply);
        assert_eq!((id.token, id.status), (8, Status::OK));
        format!(r#"{{"id": "{}"}}"#, std::str::from_utf8(&id.payload).unwrap())
    };
    let state = |args: &str| -> Value {
        let told = asked(&host, &client, operations::TASK_STATE, args);
        serde_json::from_slice(&told.payload).unwrap()
    };
    let task = send();
    let call = host.next(EventKind::Call);
    assert_eq!((call.method, &*call.payload, &*known(&call).0["topic"]), (0, &b"7"[..], "double"));
    let running = state(&task);
    assert_eq!((&running["state"], &running["attempt"]), (&"running".into(), &1.into()));
    answer(&host, &call, "14");
    let result = asked(&host, &client, operations::TASK_RESULT, &task);
    assert_eq!((&*result.payload, result.flags), (&b"14"[..], flags::JSON));
    assert_eq!(state(&task)["state"], "done");
    let task = send();
    for _ in 0..2 {
        let call = host.next(EventKind::Call);
        host.runtime.settle(call.id, verdict::RETRY, 0, "no such number").unwrap();
    }
    let result = asked(&host, &client, operations::TASK_RESULT, &task);
    let error = result.failure.unwrap().to_string();
    assert!(error.contains("no such number"), "{error}");
    let dead = state(&task);
    assert_eq!((&dead["state"], &dead["code"]), (&"dead".into(), &10.into()));
    let wrong = asked(&host, &client, operations::TASK_RESULT, r#"{"id": "7"}"#);
    assert_eq!(wrong.status, Status::from(micro_bridge::core::Code::InvalidArgument));
    host.end();
}

#[test]
fn a_function_serves_one_message_and_ends() {
    let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
    let server = service(&host, &folder, r#", "once": true"#);
    server.subscribe("images", r#"{"queue": "q"}"#).unwrap();
    let client = started(&host, &server);
    client.publish(&host.queue, message("images", "1", ""), 8).unwrap();
    let call = host.next(EventKind::Call);
    answer(&host, &call, "");
    let end = host.next(EventKind::End);
    assert_eq!((end.token, end.status), (100, Status::OK));
    host.end();
    let wrong = Server::new(&Host::new().runtime, "shop", r#"{"once": 1}"#).unwrap_err();
    assert!(wrong.to_string().contains("once: write true or false"), "{wrong}");
}

#[test]
fn an_event_of_cloudevents_says_of_itself_what_it_is_in_headers() {
    let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
    let server = service(&host, &folder, "");
    server.subscribe("orders", "").unwrap();
    let client = started(&host, &server);
    let event = r#"{"cloud_event": {"source": "/shop", "type": "placed", "id": "7", "time": 1709210096007, "attributes": {"dataschema": "x"}}}"#;
    client.publish(&host.queue, message("orders", "1", event), 8).unwrap();
    let call = host.next(EventKind::Call);
    let (_, headers) = known(&call);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-source", "/shop"),
        ("ce-type", "placed"),
        ("ce-id", "7"),
        ("ce-time", "2024-02-29T12:34:56.007Z"),
        ("ce-dataschema", "x"),
    ] {
        assert_eq!(headers[name], value);
    }
    answer(&host, &call, "");
    let wrong = r#"{"cloud_event": {"source": "/shop"}}"#;
    let error = client.publish(&host.queue, message("orders", "1", wrong), 8).unwrap_err();
    assert!(error.to_string().contains("`type` is missing"), "{error}");
    host.end();
}
