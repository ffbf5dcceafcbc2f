//! Messages from a terminal: published by one command, printed by another.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[allow(dead_code, reason = "other tests use the rest")]
mod fleet;

use fleet::Fleet;
use micro::broker::{Broker as _, Durable, Start, Subscription, Verdict};
use micro_tests::servers::Server;
use micro_tests::{Need, isolated};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test]
async fn what_was_published_is_printed_by_whoever_comes_later() {
    let fleet = Fleet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let broker = format!("--broker=durable://{}/data", folder.path().display());
    let publish =
        ["publish", "orders", r#"{"id":7}"#, "--metadata", "tenant=blue", "--ordering-key", "7"];
    let published = fleet.micro(publish.into_iter().chain([&*broker])).await;
    assert_eq!((published.code, &*published.stdout), (0, ""), "{}", published.stderr);
    assert_eq!(published.stderr, "published to orders by durable\n");
    let text = fleet.micro(["publish", "orders", "no JSON", &broker]).await;
    assert_eq!(text.code, 0, "{}", text.stderr);

    let subscribe = ["subscribe", "orders", "--from", "first", "--count", "2", &broker];
    let printed = fleet.micro(subscribe).await;
    assert_eq!(
        (printed.code, &*printed.stdout),
        (0, "{\"id\":7}\nno JSON\n"),
        "{}",
        printed.stderr
    );
    let printed = fleet.micro(subscribe.into_iter().chain(["-o", "json"])).await;
    let lines: Vec<serde_json::Value> =
        printed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["body"], json!({"id": 7}));
    assert_eq!(lines[0]["headers"]["tenant"], json!("blue"));
    assert_eq!(lines[0]["content_type"], json!("application/json"));
    assert_eq!(
        (&lines[1]["body"], &lines[1]["content_type"]),
        (&json!("no JSON"), &json!("text/plain"))
    );
    assert!(lines[0]["sequence"].as_u64() < lines[1]["sequence"].as_u64());

    // A queue goes on where it was.
    let queue = ["subscribe", "orders", "--queue", "q", "--from", "first", "--count", "1", &broker];
    assert_eq!(fleet.micro(queue).await.stdout, "{\"id\":7}\n");
    assert_eq!(fleet.micro(queue).await.stdout, "no JSON\n");
}

#[tokio::test]
async fn without_options_a_message_goes_to_whoever_subscribes_now() {
    let fleet = Fleet::new();
    let mut subscriber = fleet.start(["subscribe", "orders"]);
    let mut said = BufReader::new(subscriber.stderr.take().expect("a pipe")).lines();
    let line = said.next_line().await.expect("text").expect("a line");
    assert_eq!(line, "subscribed to orders by http; Ctrl-C ends");
    let published = fleet.micro(["publish", "orders", "7"]).await;
    assert_eq!(published.code, 0, "{}", published.stderr);
    let mut printed = BufReader::new(subscriber.stdout.take().expect("a pipe")).lines();
    assert_eq!(printed.next_line().await.expect("text").as_deref(), Some("7"));
    subscriber.kill().await.expect("it ends");
}

#[test]
fn servers_of_others_are_brokers_by_their_urls() {
    isolated(&[Need::Nats, Need::Redis], || async {
        let (nats, redis) = (Server::nats(&[]).await, Server::redis(&[]).await);
        let fleet = Fleet::new();
        for url in
            [format!("jetstream://{}", nats.address()), format!("redis://{}", redis.address())]
        {
            let published = fleet.micro(["publish", "orders", "7", "--broker", &url]).await;
            assert_eq!(published.code, 0, "{}", published.stderr);
            let subscribe =
                ["subscribe", "orders", "--from", "first", "--count", "1", "--broker", &url];
            assert_eq!(fleet.micro(subscribe).await.stdout, "7\n", "{url}");
        }
        let url = format!("nats://{}", nats.address());
        let mut subscriber = fleet.start(["subscribe", "orders", "--broker", &url]);
        let mut said = BufReader::new(subscriber.stderr.take().expect("a pipe")).lines();
        let line = said.next_line().await.expect("text").expect("a line");
        assert_eq!(line, "subscribed to orders by nats; Ctrl-C ends");
        let published = fleet.micro(["publish", "orders", "8", "--broker", &url]).await;
        assert_eq!(published.code, 0, "{}", published.stderr);
        let mut printed = BufReader::new(subscriber.stdout.take().expect("a pipe")).lines();
        assert_eq!(printed.next_line().await.expect("text").as_deref(), Some("8"));
        subscriber.kill().await.expect("it ends");
    });
}

#[tokio::test]
async fn mistakes_say_what_would_do() {
    let fleet = Fleet::new();
    for (arguments, code, says) in [
        (&["subscribe", "orders", "--from", "yesterday"][..], 2, "neither `new` nor `first`"),
        (&["subscribe", "orders", "--from", "first"], 2, "use one that does, such as durable://"),
        (&["publish", "orders", "1", "--delay", "5s"], 2, "does not know a delay"),
        (&["publish", "", "1"], 2, "topic \"\""),
        (&["publish", "orders", "1", "--broker", "durble://"], 2, "did you mean durable://?"),
    ] {
        let refused = fleet.micro(arguments.iter().copied()).await;
        assert_eq!(refused.code, code, "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(says), "{arguments:?}: {}", refused.stderr);
    }
}

/// Publishes with the command.
async fn publish(fleet: &Fleet, broker: &str, topic: &str, messages: &[&str]) {
    for message in messages {
        let published = fleet.micro(["publish", topic, message, broker]).await;
        assert_eq!(published.code, 0, "{}", published.stderr);
    }
}

#[tokio::test]
async fn topics_are_looked_into_and_dead_letters_tried_again() {
    let fleet = Fleet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let broker = format!("--broker=durable://{}", data.display());
    publish(&fleet, &broker, "orders", &["1", "2", "3"]).await;
    let durable = Durable::new(&data);
    let mut subscription = Subscription::new("orders");
    subscription.queue = Some("billing".into());
    subscription.start = Start::First;
    let mut taken = durable.subscribe(subscription).await.expect("subscribed");
    let first = taken.next().await.expect("goes on").expect("a message");
    first.settle(Verdict::Reject("the card was refused".into())).await.expect("settled");
    let second = taken.next().await.expect("goes on").expect("a message");

    let listed = fleet.micro(["topics", &broker]).await;
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let line = listed.stdout.lines().find(|line| line.starts_with("orders ")).expect("a line");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..5], ["orders", "3", "1", "billing", "2"], "{line}");
    assert!(line.ends_with(&format!("of process {}", std::process::id())), "{line}");
    let shown = fleet.micro(["topics", "show", "orders", &broker]).await;
    assert!(shown.stdout.contains("of billing"), "{}", shown.stdout);
    assert!(shown.stdout.contains("after 1 attempts: the card was refused"), "{}", shown.stdout);
    let json = fleet.micro(["topics", "show", "orders", "-o", "json", &broker]).await.json();
    assert_eq!(json["letters"][0]["reason"], json!("the card was refused"));

    let retried = fleet.micro(["topics", "retry", "orders", &broker]).await;
    assert_eq!(retried.stderr, "1 dead letter published again\n");
    drop((second, taken));
    durable.close().await.expect("closed");
    let take = ["subscribe", "orders", "--queue", "billing", "--count", "3", &broker];
    assert_eq!(fleet.micro(take).await.stdout, "2\n3\n1\n");
    let replayed =
        fleet.micro(["topics", "replay", "orders", "billing", "--from", "first", &broker]);
    let replayed = replayed.await;
    assert!(replayed.stderr.contains("goes on at 0, 4 behind"), "{}", replayed.stderr);

    let unasked = fleet.micro(["topics", "drop", "queue", "orders", "billing", &broker]).await;
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);
    assert!(unasked.stderr.contains("--yes is needed to drop the queue"), "{}", unasked.stderr);
    let drop = ["topics", "drop", "messages", "orders", "--up-to", "99999999", "--yes", &broker];
    assert_eq!(fleet.micro(drop).await.stderr, "4 messages dropped\n");
    let drop = ["topics", "drop", "queue", "orders", "billing", "-y", &broker];
    assert_eq!(fleet.micro(drop).await.stderr, "1 queue dropped\n");
    let listed = fleet.micro(["topics", "-o", "json", &broker]).await;
    let topic: serde_json::Value =
        listed.stdout.lines().next().expect("a line").parse().expect("JSON");
    assert_eq!((&topic["name"], &topic["messages"]), (&json!("orders"), &json!(0)));
    assert_eq!(topic["queues"], json!([]));
    let slip = fleet.micro(["topics", "show", "order", &broker]).await;
    assert!(slip.stderr.contains("did you mean `orders`?"), "{}", slip.stderr);
    let other = fleet.micro(["topics", "--broker", "memory://"]).await;
    assert_eq!(other.code, 2);
    assert!(other.stderr.contains("name a durable broker"), "{}", other.stderr);
}
