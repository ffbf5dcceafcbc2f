//! The command and a server of plain gRPC, grpcio's: it knows no JSON, and says of itself what its messages are.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![allow(dead_code, reason = "each test file uses its own part of the fleet")]

mod fleet;

use fleet::Fleet;
use micro_tests::{Need, isolated, python};
use serde_json::{Value, json};

#[test]
fn a_server_that_tells_its_types_is_called_in_json() {
    isolated(&[Need::Grpcio], || async {
        let server = python::server().await;
        let (fleet, address) = (Fleet::new(), server.fact("address"));
        for endpoint in ["Greeter.Hello", "greeter.Greeter.Hello", "/greeter.Greeter/Hello"] {
            let request = r#"{"name":"Ann","big":"9007199254740993","home":{"streetName":"Elm"}}"#;
            let called =
                fleet.micro(["call", "any", endpoint, request, "--address", address]).await;
            let reply = called.json();
            assert_eq!(reply["greeting"], "Hello Ann", "{endpoint}: {}", called.stderr);
            assert_eq!(reply["request"]["big"], "9007199254740993");
            assert_eq!(reply["request"]["home"]["streetName"], "Elm");
        }
        let wrong = ["call", "", "Greeter.Hello", r#"{"nam":"Ann"}"#, "--address", address];
        let called = fleet.micro(wrong).await;
        assert_eq!(called.code, 2, "{}", called.stderr);
        assert!(called.stderr.contains("greeter.HelloRequest") && called.stderr.contains("nam"));
        server.end().await;
    });
}

#[test]
fn its_streams_take_a_message_a_line() {
    isolated(&[Need::Grpcio], || async {
        let server = python::server_with(&["--reflection", "v1alpha"]).await;
        let (fleet, address) = (Fleet::new(), server.fact("address"));
        let called = fleet
            .micro(["call", "", "Greeter.Count", r#"{"to":3}"#, "--address", address, "-o", "json"])
            .await;
        let values = |text: &str| -> Vec<Value> {
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        let counted = values(&called.stdout);
        assert_eq!(counted.len(), 3, "{} {}", called.stdout, called.stderr);
        let chat = ["call", "", "Greeter.Chat", "-", "--address", address];
        let lines = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n{\"text\":\"bye\"}\n";
        let called = fleet.micro_reading(chat, lines).await;
        let texts: Vec<_> =
            values(&called.stdout).iter().map(|told| told["text"].clone()).collect();
        assert_eq!(
            texts[..2],
            [json!("echo: a"), json!("echo: b")],
            "{} {}",
            called.stdout,
            called.stderr
        );
        assert_eq!(called.code, 0);
        let sum = ["call", "", "Greeter.Sum", "-", "--address", address];
        let called = fleet.micro_reading(sum, "{\"value\":1}\n{\"value\":2}").await;
        assert_eq!(values(&called.stdout).len(), 1, "{} {}", called.stdout, called.stderr);
        server.end().await;
    });
}

#[test]
fn its_services_and_its_health_are_shown() {
    isolated(&[Need::Grpcio], || async {
        let server = python::server().await;
        let (fleet, address) = (Fleet::new(), server.fact("address"));
        let shown = fleet.micro(["describe", "greeter", "--address", address]).await;
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        for (endpoint, kind) in [
            ("greeter.Greeter.Hello", "unary"),
            ("greeter.Greeter.Count", "server stream"),
            ("greeter.Greeter.Sum", "client stream"),
            ("greeter.Greeter.Chat", "bidi stream"),
        ] {
            let row = shown.stdout.lines().find(|line| line.starts_with(endpoint));
            assert!(row.is_some_and(|row| row.contains(kind)), "{endpoint}: {}", shown.stdout);
        }
        assert!(shown.stdout.contains("Home{street_name string, house_number int32}"));
        assert!(!shown.stdout.contains("grpc."), "what a user wrote: {}", shown.stdout);
        let asked = fleet.micro(["health", "", "--address", address, "-o", "json"]).await;
        assert_eq!(
            (asked.code, &asked.json()[0]["serving"]),
            (0, &json!(true)),
            "{}",
            asked.stderr
        );
        let asked = fleet.micro(["health", "nothing", "--address", "127.0.0.1:1"]).await;
        assert!(asked.code == 1 && asked.stdout.contains("UNAVAILABLE"), "{}", asked.stdout);
        server.end().await;
    });
}
