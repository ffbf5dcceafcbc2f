//! Lines 20 to 22: the HTTP broker, both ways.

use std::sync::Arc;
use std::time::Duration;

use micro::broker::{Http, Subscriber};
use micro::{Code, Codec, Context, Json};
use micro_tests::greeter::HelloRequest;
use micro_tests::ours::{self, PATIENCE};
use micro_tests::{Need, go, isolated};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// What a subscriber of ours saw: which one, the name in the message, headers.
type Seen = (&'static str, String, Option<String>, Option<String>);

/// A service of ours with subscribers, and what they see.
async fn subscribers(
    all: &[(&'static str, &'static str, Option<&str>)],
) -> (ours::Ours, UnboundedReceiver<Seen>) {
    let (sender, receiver) = unbounded_channel();
    let service = ours::serve_with("billing", |builder| {
        let builder = builder.broker(Arc::new(Http::new()));
        all.iter().fold(builder, |builder, (name, topic, queue)| {
            let (sender, name) = (sender.clone(), *name);
            let handler = move |context: Context, message: HelloRequest| {
                let header = |name| context.metadata().get(name).map(str::to_owned);
                let seen = (name, message.name, header("tenant"), header("micro-from-service"));
                let sent = sender.send(seen);
                async move { sent.map_err(micro::Error::unexpected) }
            };
            let subscriber = Subscriber::new(*topic, handler);
            builder.subscriber(match queue {
                Some(queue) => subscriber.queue(*queue),
                None => subscriber,
            })
        })
    });
    (service.await, receiver)
}

async fn next(receiver: &mut UnboundedReceiver<Seen>) -> Seen {
    timeout(PATIENCE, receiver.recv()).await.expect("a message in time").expect("a subscriber")
}

#[test]
fn p0_20_go_publishes_to_our_subscribers_with_and_without_a_queue() {
    isolated(&[Need::Go], || async {
        let all = [("all", "orders", None), ("queue", "orders", Some("billing"))];
        let (service, mut seen) = subscribers(&all).await;
        let client = go::client().await;
        for content_type in ["application/protobuf", "application/json", "application/grpc+proto"] {
            let message = json!({
                "topic": "orders", "message": {"name": content_type}, "contentType": content_type,
                "metadata": {"Tenant": "blue"},
            });
            client.ask("publish", message).await;
            let mut both = [next(&mut seen).await, next(&mut seen).await];
            both.sort();
            let expected = |name| (name, content_type.to_owned(), Some("blue".to_owned()));
            let got = both.map(|(name, text, tenant, _)| (name, text, tenant));
            assert_eq!(got, [expected("all"), expected("queue")]);
        }
        assert!(seen.try_recv().is_err(), "a message came twice");
        service.stop().await;
    });
}

#[test]
fn p0_21_we_publish_to_subscribers_in_go_all_and_one_of_each_queue() {
    isolated(&[Need::Go], || async {
        let one = go::serve_with("one", &["--subscribe", "orders"]).await;
        let two = go::serve_with("two", &["--subscribe", "orders:shared"]).await;
        let three = go::serve_with("three", &["--subscribe", "orders:shared"]).await;
        let ours = ours::serve_with("shop", |builder| builder.broker(Arc::new(Http::new()))).await;
        let client = ours.service.client();
        let message = |name: &str| HelloRequest { name: name.into(), ..HelloRequest::default() };
        for number in 0..4 {
            let name = format!("order {number}");
            client.publish("orders", message(&name)).metadata("tenant", "blue").await.unwrap();
        }
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        let mut take = |event: &Value| {
            assert_eq!(event["metadata"]["Tenant"], "blue", "{event}");
            assert_eq!(event["metadata"]["Micro-From-Service"], "shop", "{event}");
            *counts.entry(event["name"].as_str().unwrap().to_owned()).or_default() += 1;
        };
        // Each reaches the one without a queue, and one of those that share.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut total = 0;
        while total < 8 {
            assert!(tokio::time::Instant::now() < deadline, "only {total} of 8 deliveries");
            for peer in [&one, &two, &three] {
                let events = peer.ask("take", json!({"kind": "message"})).await;
                for event in events.as_array().expect("a list") {
                    take(event);
                    total += 1;
                }
            }
        }
        assert!(counts.values().all(|count| *count == 2) && counts.len() == 4, "{counts:?}");
        ours.stop().await;
    });
}

#[test]
fn p0_22_what_we_publish_is_read_in_every_codec_that_both_have() {
    isolated(&[Need::Go], || async {
        let go = go::serve_with("audit", &["--subscribe", "orders"]).await;
        let ours = ours::serve_with("shop", |builder| builder.broker(Arc::new(Http::new()))).await;
        for codec in [Codec::Proto, Codec::Json] {
            let message = HelloRequest { name: codec.to_string(), ..HelloRequest::default() };
            ours.service.client().publish("orders", message).codec(codec).await.unwrap();
            let event = go.next("message").await;
            assert_eq!(event["name"], codec.to_string(), "{event}");
        }
        ours.stop().await;
    });
}

#[test]
fn a_request_that_is_no_message_is_refused_as_go_refuses_it() {
    isolated(&[], || async {
        let (service, mut seen) = subscribers(&[("all", "orders", None)]).await;
        let registry = ours::registry();
        let found = timeout(PATIENCE, async {
            loop {
                if let Ok(found) = registry.get("micro.http.broker").await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let found = found.await.expect("the subscription is registered");
        let node = &found[0].nodes[0];
        assert_eq!(found[0].version, "ff.http.broadcast");
        assert_eq!((&*node.metadata["topic"], &*node.metadata["secure"]), ("orders", "false"));
        for (method, body, status, says) in [
            ("GET", "", "405", "Method not allowed"),
            ("POST", "{", "500", "Error parsing request body: "),
            ("POST", r#"{"Header":{},"Body":""}"#, "500", "Topic not found"),
            ("POST", r#"{"Header":{"Micro-Topic":"other"},"Body":""}"#, "200", ""),
        ] {
            let answer = request(&node.address, method, &node.id, body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(says), "{answer}");
        }
        assert!(seen.try_recv().is_err());
        service.stop().await;
    });
}

/// One request over a connection of its own, and all of the answer.
async fn request(address: &str, method: &str, id: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "{method} /?id={id} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[test]
fn a_handler_that_fails_is_no_failure_of_the_publisher() {
    isolated(&[], || async {
        let (sender, mut seen) = unbounded_channel();
        let service = ours::serve_with("billing", |builder| {
            let handler = move |_: Context, Json(order): Json<u64>| {
                let sent = sender.send(order);
                async move {
                    sent.map_err(micro::Error::unexpected)?;
                    Err(micro::Error::new(Code::Internal, "no stock"))
                }
            };
            builder.broker(Arc::new(Http::new())).subscriber(Subscriber::new("orders", handler))
        })
        .await;
        service.service.client().publish("orders", Json(7_u64)).await.unwrap();
        assert_eq!(timeout(PATIENCE, seen.recv()).await.unwrap(), Some(7));
        service.stop().await;
    });
}
