//! Every command as a user runs it: the built program against services on a registry of its own.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

mod fleet;

use fleet::{Fleet, Micro};
use micro::{Context, Detail, Error, Json, Raw, Service, Streaming};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test]
async fn services_are_listed_with_their_size() {
    let fleet = Fleet::new();
    let _nodes = [fleet.greeter("1").await, fleet.greeter("1").await, fleet.greeter("2").await];
    let listed = fleet.micro(["services"]).await;
    assert_eq!(
        (listed.code, listed.stdout.as_str()),
        (
            0,
            "SERVICE  VERSION  NODES  ENDPOINTS\ngreeter  1        2      4\ngreeter  2        1      4\n"
        )
    );
    let listed = fleet.micro(["services", "--output", "json"]).await;
    assert_eq!(listed.json()[1], json!({"name":"greeter","version":"2","nodes":1,"endpoints":4}));
}

#[tokio::test]
async fn an_empty_fleet_is_no_failure() {
    let fleet = Fleet::new();
    let listed = fleet.micro(["services"]).await;
    assert_eq!((listed.code, listed.stdout.as_str()), (0, ""));
    assert!(listed.stderr.starts_with("no services in local://"), "{}", listed.stderr);
    assert_eq!(fleet.micro(["services", "-o", "json"]).await.json(), json!([]));
}

#[tokio::test]
async fn describe_shows_nodes_and_endpoints() {
    let fleet = Fleet::new();
    let greeter = fleet.greeter("1").await;
    let shown = fleet.micro(["describe", "greeter"]).await;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let node = format!("{}  {}", greeter.node().id, greeter.node().address);
    assert!(shown.stdout.contains(&node), "{}", shown.stdout);
    assert!(shown.stdout.contains("Greeter.Count  server stream"), "{}", shown.stdout);
    let shown = fleet.micro(["describe", "greeter", "--output", "json"]).await.json();
    assert_eq!(shown[0]["nodes"][0]["address"], json!(greeter.node().address));
    assert_eq!(shown[0]["endpoints"][0]["name"], json!("Greeter.Count"));
}

#[tokio::test]
async fn a_call_prints_the_reply() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Hello", r#"{"name":"Ada"}"#]).await;
    assert_eq!(
        (called.code, called.stdout.as_str()),
        (0, "{\n  \"greeting\": \"Hello, Ada!\",\n  \"version\": \"1\",\n  \"tenant\": null\n}\n")
    );
    let called = fleet
        .micro(["call", "greeter", "Greeter.Hello", r#"{"name":"Ada"}"#, "--output", "json"])
        .await;
    assert_eq!(called.stdout, "{\"greeting\":\"Hello, Ada!\",\"version\":\"1\",\"tenant\":null}\n");
}

#[tokio::test]
async fn a_call_takes_metadata_version_and_address() {
    let fleet = Fleet::new();
    let (first, _second) = (fleet.greeter("1").await, fleet.greeter("2").await);
    let call = ["call", "greeter", "Greeter.Hello", r#"{"name":"Ada"}"#];
    for _ in 0..5 {
        let with = ["--version", "2", "--metadata", "tenant=blue", "--timeout", "10s"];
        let called = fleet.micro(call.into_iter().chain(with)).await.json();
        assert_eq!((&called["version"], &called["tenant"]), (&json!("2"), &json!("blue")));
    }
    let address = first.node().address.clone();
    // With an address the registry is not asked, so the name may be any.
    let called = fleet.micro(["call", "x", "Greeter.Hello", call[3], "--address", &address]).await;
    assert_eq!(called.json()["version"], json!("1"), "{}", called.stderr);
}

#[tokio::test]
async fn a_request_may_come_from_stdin() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called =
        fleet.micro_reading(["call", "greeter", "Greeter.Hello", "-"], r#"{"name":"Bob"}"#).await;
    assert_eq!(called.json()["greeting"], json!("Hello, Bob!"), "{}", called.stderr);
}

#[tokio::test]
async fn a_stream_prints_one_reply_to_a_line() {
    let fleet = Fleet::new();
    let greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Count", "3"]).await;
    assert_eq!((called.code, called.stdout.as_str()), (0, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"));
    let address = greeter.node().address;
    let called = fleet
        .micro(["call", "greeter", "Greeter.Count", "2", "--address", &address, "--stream"])
        .await;
    assert_eq!((called.code, called.stdout.as_str()), (0, "{\"n\":1}\n{\"n\":2}\n"));
}

#[tokio::test]
async fn a_stream_that_breaks_off_shows_what_came_and_fails() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Count", "99"]).await;
    assert_eq!(called.stdout.lines().count(), 9);
    assert_eq!(called.code, 1);
    assert!(called.stderr.contains("OUT_OF_RANGE: ten is too much"), "{}", called.stderr);
}

#[tokio::test]
async fn a_failed_call_says_why_and_where() {
    let fleet = Fleet::new();
    let greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Hello", r#"{"name":""}"#]).await;
    assert_eq!((called.code, called.stdout.as_str()), (1, ""));
    assert!(
        called.stderr.starts_with(
            "error: INVALID_ARGUMENT: name is empty [greeter] (calling greeter Greeter.Hello on "
        ),
        "{}",
        called.stderr
    );
    assert!(called.stderr.contains(&greeter.node().address), "{}", called.stderr);
}

#[tokio::test]
async fn a_failure_is_json_for_programs() {
    let fleet = Fleet::new();
    let refuse = |_: Context, _: Raw| async move {
        let detail = Detail::new("shop.Refused", vec![8, 1]);
        Err::<Raw, _>(Error::not_found("no such book").with_id("shop").with_attached(detail))
    };
    let greeter = fleet.greeter_with("1", |builder| builder.endpoint("Shop.Buy", refuse)).await;
    let called = fleet.micro(["call", "greeter", "Shop.Buy", "{}", "-o", "json"]).await;
    assert_eq!((called.code, called.stdout.as_str()), (1, ""));
    let told: Value = serde_json::from_str(&called.stderr).expect("one value");
    let error = &told["error"];
    assert_eq!((&error["code"], &error["http"]), (&json!("NOT_FOUND"), &json!(404)));
    assert_eq!((&error["id"], &error["detail"]), (&json!("shop"), &json!("no such book")));
    assert_eq!(error["details"], json!([{ "type": "shop.Refused", "value": "CAE=" }]));
    assert!(error["node"].as_str().is_some_and(|node| node.contains(&greeter.node().address)));
    let called = fleet.micro(["call", "greeter", "Shop.Buy"]).await;
    assert!(called.stderr.ends_with("\ndetail shop.Refused: CAE=\n"), "{}", called.stderr);
    let called = fleet.micro(["call", "greeter", "Shop.Buy", "{", "-o", "json"]).await;
    assert_eq!(called.code, 2);
    assert!(called.stderr.starts_with(r#"{"error":{"message":"the request is not JSON"#));
}

#[tokio::test]
async fn headers_and_trailers_are_shown_when_asked_for() {
    let fleet = Fleet::new();
    let told = |cx: Context, request: Raw| async move {
        cx.set_header("shelf", "7")?;
        cx.set_trailer("cost", "3")?;
        if *request.0 == *b"1" { Err(Error::not_found("sold")) } else { Ok(request) }
    };
    let _greeter = fleet.greeter_with("1", |builder| builder.endpoint("Shop.Buy", told)).await;
    for (request, code) in [("{}", 0), ("1", 1)] {
        let called = fleet.micro(["call", "greeter", "Shop.Buy", request, "--headers"]).await;
        assert_eq!(called.code, code, "{}", called.stderr);
        // A failure without a message has nothing but trailers.
        let place = if code == 0 { "header" } else { "trailer" };
        let shelf = format!("{place} shelf: 7\n");
        assert!(called.stderr.contains(&shelf), "{}", called.stderr);
        assert!(!called.stderr.contains("grpc-"), "{}", called.stderr);
        assert!(called.stderr.contains("trailer cost: 3\n"), "{}", called.stderr);
    }
    let called = fleet.micro(["call", "greeter", "Shop.Buy"]).await;
    assert_eq!(called.stderr, "");
}

#[tokio::test]
async fn a_stream_of_requests_is_read_a_line_each_while_replies_come() {
    let fleet = Fleet::new();
    let echo = |_: Context, requests: Streaming<Json<Value>>| async move { Ok(requests) };
    let _greeter =
        fleet.greeter_with("1", |builder| builder.bidi_stream("Greeter.Chat", echo)).await;
    let mut chat = fleet.start(["call", "greeter", "Greeter.Chat", "-"]);
    let mut lines = chat.stdin.take().expect("stdin");
    let mut replies = BufReader::new(chat.stdout.take().expect("stdout")).lines();
    for line in ["{\"n\":1}\n", "\n2\n"] {
        lines.write_all(line.as_bytes()).await.expect("it reads");
        // The next line is not there yet.
        let reply = replies.next_line().await.expect("readable").expect("a reply");
        assert_eq!(reply, line.trim());
    }
    drop(lines);
    assert_eq!(replies.next_line().await.expect("readable"), None);
    assert!(chat.wait().await.expect("it ends").success());
    let wrong = fleet.micro_reading(["call", "greeter", "Greeter.Chat", "-"], "1\n{\n2\n").await;
    assert_eq!(wrong.code, 2, "{}", wrong.stdout);
    assert!(wrong.stderr.contains("the request is not JSON"), "{}", wrong.stderr);
    assert!(!wrong.stdout.contains('2'), "{}", wrong.stdout);
}

#[tokio::test]
async fn a_shell_is_told_how_to_complete_the_command() {
    let fleet = Fleet::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = fleet.micro(["completions", shell]).await;
        assert_eq!(script.code, 0, "{}", script.stderr);
        assert!(script.stdout.contains("describe"), "{shell}: {}", script.stdout);
    }
}

#[tokio::test]
async fn a_node_without_reflection_says_what_to_do() {
    let fleet = Fleet::new();
    let asked = fleet.micro(["describe", "x", "--address", "127.0.0.1:1", "--timeout", "1s"]).await;
    assert!(asked.code == 1 && asked.stderr.contains("UNAVAILABLE"), "{}", asked.stderr);
    let asked = fleet.micro(["describe", "x", "--metadata", "a=b"]).await;
    assert!(asked.code == 2 && asked.stderr.contains("--address"), "{}", asked.stderr);
}

#[tokio::test]
async fn a_call_that_takes_too_long_fails() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Wait", "--timeout", "50ms"]).await;
    assert_eq!(called.code, 1);
    assert!(called.stderr.contains("DEADLINE_EXCEEDED"), "{}", called.stderr);
}

#[tokio::test]
async fn a_misspelt_service_is_found_again() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let expected = "error: no service `greter`; did you mean `greeter`?\n";
    for command in
        [&["call", "greter", "Greeter.Hello"][..], &["describe", "greter"], &["health", "greter"]]
    {
        let called = fleet.micro(command.iter().copied()).await;
        assert_eq!((called.code, called.stderr.as_str()), (1, expected), "{command:?}");
    }
    let called = fleet.micro(["describe", "orders"]).await;
    assert_eq!(
        called.stderr,
        "error: no service `orders`; `micro services` lists those that are there\n"
    );
}

#[tokio::test]
async fn a_misspelt_endpoint_is_found_again() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Greeter.Helo"]).await;
    assert_eq!(called.code, 1);
    let expected = "error: no endpoint `Greeter.Helo`; did you mean `Greeter.Hello`?\n";
    assert!(called.stderr.starts_with(expected), "{}", called.stderr);
    let called = fleet.micro(["call", "greeter", "hello"]).await;
    assert_eq!(called.code, 2);
    assert!(called.stderr.contains("did you mean `Greeter.Hello`?"), "{}", called.stderr);
}

#[tokio::test]
async fn endpoints_that_are_not_advertised_can_be_called() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let called = fleet.micro(["call", "greeter", "Debug.Health"]).await;
    assert_eq!(called.json()["status"], json!("ok"), "{}", called.stderr);
}

#[tokio::test]
async fn a_command_line_without_sense_is_refused_before_anything_is_sent() {
    let fleet = Fleet::new();
    let greeter = fleet.greeter("1").await;
    let hello = ["call", "greeter", "Greeter.Hello"];
    for (wrong, hint) in [
        (&["{name}"][..], "the request is not JSON"),
        (&["{}", "--timeout", "5"], "write it as 500ms, 2s or 1m"),
        (&["{}", "--metadata", "tenant"], "write it as key=value"),
        (&["{}", "--metadata", "content-type=x"], "content-type"),
        (&["{}", "--registry", "mdsn://"], "did you mean mdns://?"),
        (&["{}", "--output", "yaml"], "[possible values: table, json]"),
    ] {
        let called = fleet.micro(hello.iter().chain(wrong).copied()).await;
        assert_eq!((called.code, called.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(called.stderr.contains(hint), "{wrong:?}: {}", called.stderr);
    }
    assert_eq!(greeter.server().metrics().totals().0, 0);
}

#[tokio::test]
async fn health_asks_every_node() {
    let fleet = Fleet::new();
    let nodes = [fleet.greeter("1").await, fleet.greeter("1").await];
    let asked = fleet.micro(["health", "greeter"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert_eq!(asked.stdout.matches("serving").count(), 2, "{}", asked.stdout);

    nodes[1].server().unready();
    let asked = fleet.micro(["health", "greeter", "--output", "json"]).await;
    assert_eq!(asked.code, 1);
    let told: Value = serde_json::from_str(&asked.stderr).expect("JSON");
    assert_eq!(told, json!({ "error": { "message": "1 of 2 nodes are not serving" } }));
    let rows = asked.json();
    let serving = |service: &Service| {
        let rows = rows.as_array().expect("rows");
        let row = rows.iter().find(|row| row["node"] == json!(service.node().id));
        row.expect("a row for each node")["serving"].clone()
    };
    assert_eq!((serving(&nodes[0]), serving(&nodes[1])), (Value::Bool(true), Value::Bool(false)));
}

#[tokio::test]
async fn health_of_a_node_that_is_gone_is_bad() {
    let fleet = Fleet::new();
    let greeter = fleet.greeter("1").await;
    // It stops serving and stays registered, as a node does that hangs.
    greeter.server().stop().await;
    let asked = fleet.micro(["health", "greeter", "--timeout", "2s"]).await;
    assert_eq!(asked.code, 1);
    assert!(asked.stdout.contains("UNAVAILABLE"), "{}", asked.stdout);
}

#[tokio::test]
async fn watch_prints_nodes_as_they_come_and_go() {
    let fleet = Fleet::new();
    let mut watch = fleet.start(["watch", "greeter", "--output", "json"]);
    let mut messages = BufReader::new(watch.stderr.take().expect("stderr")).lines();
    let mut changes = BufReader::new(watch.stdout.take().expect("stdout")).lines();
    let message = messages.next_line().await.expect("readable").expect("a message");
    assert!(message.starts_with("watching greeter in local://"), "{message}");

    let greeter = fleet.greeter("1").await;
    let node = greeter.node().clone();
    let mut change = async || -> Value {
        let line = changes.next_line().await.expect("readable").expect("a change");
        serde_json::from_str(&line).expect("a change in JSON")
    };
    let created = change().await;
    assert_eq!(
        (&created["action"], &created["service"]["nodes"][0]["id"]),
        (&json!("create"), &json!(node.id))
    );
    greeter.stop().await.expect("it stops");
    assert_eq!(change().await["action"], json!("delete"));
    watch.kill().await.expect("it ends");
}

#[tokio::test]
async fn a_pipe_gets_no_colours() {
    let fleet = Fleet::new();
    let _greeter = fleet.greeter("1").await;
    let Micro { stdout, .. } = fleet.micro(["health", "greeter"]).await;
    assert!(!stdout.contains('\x1b'), "{stdout}");
}
