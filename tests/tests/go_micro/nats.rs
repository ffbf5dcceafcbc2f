//! Line 23: the NATS broker, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use micro::broker::Subscriber;
use micro::{Codec, Context};
use micro_nats::Nats;
use micro_tests::greeter::HelloRequest;
use micro_tests::ours::{self, PATIENCE};
use micro_tests::servers::Server;
use micro_tests::{Need, go, isolated};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

#[test]
fn nats_go_publishes_to_our_subscribers_with_and_without_a_queue() {
    isolated(&[Need::Go, Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let (sender, mut seen) = unbounded_channel();
        let handler = |name: &'static str| {
            let sender = sender.clone();
            move |context: Context, message: HelloRequest| {
                let tenant = context.metadata().get("tenant").map(str::to_owned);
                let from = context.metadata().get("micro-from-service").map(str::to_owned);
                let sent = sender.send((name, message.name, tenant, from));
                async move { sent.map_err(micro::Error::unexpected) }
            }
        };
        let service = ours::serve_with("billing", |builder| {
            builder
                .broker(Arc::new(Nats::new(&server.address()).unwrap()))
                .subscriber(Subscriber::new("orders", handler("all")))
                .subscriber(Subscriber::new("orders", handler("one")).queue("billing"))
                .subscriber(Subscriber::new("orders", handler("one")).queue("billing"))
        });
        let service = service.await;
        let client = go::client_with(&["--nats", &server.address()], &[]).await;
        for content_type in ["application/protobuf", "application/json", "application/grpc+proto"] {
            let message = json!({
                "topic": "orders", "message": {"name": content_type}, "contentType": content_type,
                "metadata": {"Tenant": "blue"},
            });
            client.ask("publish", message).await;
            let mut both = Vec::new();
            for _ in 0..2 {
                both.push(timeout(PATIENCE, seen.recv()).await.unwrap().unwrap());
            }
            both.sort();
            let expected = |name| {
                (
                    name,
                    content_type.to_owned(),
                    Some("blue".to_owned()),
                    Some("go.caller".to_owned()),
                )
            };
            assert_eq!(both, [expected("all"), expected("one")]);
        }
        service.stop().await;
        assert!(seen.try_recv().is_err(), "a message came twice");
    });
}

#[test]
fn nats_we_publish_to_subscribers_in_go_all_and_one_of_each_queue() {
    isolated(&[Need::Go, Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let address = server.address();
        let go = |name: &'static str, topics: &'static str| {
            let address = address.clone();
            async move { go::serve_with(name, &["--nats", &address, "--subscribe", topics]).await }
        };
        let peers = [
            go("one", "orders").await,
            go("two", "orders:shared").await,
            go("three", "orders:shared").await,
        ];
        let ours = ours::serve_with("shop", |builder| {
            builder.broker(Arc::new(Nats::new(&address).unwrap()))
        });
        let ours = ours.await;
        for (number, codec) in
            [Codec::Proto, Codec::Json, Codec::Proto, Codec::Json].iter().enumerate()
        {
            let message =
                HelloRequest { name: format!("order {number}"), ..HelloRequest::default() };
            let publish = ours.service.client().publish("orders", message).codec(*codec);
            publish.metadata("tenant", "blue").await.unwrap();
        }
        let mut counts = BTreeMap::<String, usize>::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while counts.values().sum::<usize>() < 8 {
            assert!(tokio::time::Instant::now() < deadline, "{counts:?} of 8 deliveries");
            for peer in &peers {
                let events = peer.ask("take", json!({"kind": "message"})).await;
                for event in events.as_array().expect("a list") {
                    assert_eq!(event["metadata"]["Tenant"], "blue", "{event}");
                    assert_eq!(event["metadata"]["Micro-From-Service"], "shop", "{event}");
                    *counts.entry(event["name"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        assert!(counts.values().all(|count| *count == 2) && counts.len() == 4, "{counts:?}");
        ours.stop().await;
    });
}
