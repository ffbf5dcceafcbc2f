//! go-micro's broker `service`, behind the RPC of `go.micro.broker`, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use micro::broker::{
    self, Abilities, Broker, Deliveries, Memory, Message, Subscriber, Subscription,
};
use micro::{Codec, Context, Result, Service};
use micro_tests::greeter::HelloRequest;
use micro_tests::ours::{self, PATIENCE};
use micro_tests::{Need, go, isolated};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// A broker in memory that tells how many have subscribed.
#[derive(Debug)]
struct Counted(Memory, watch::Sender<usize>);

#[async_trait::async_trait]
impl Broker for Counted {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        self.0.publish(message).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        let subscribed = self.0.subscribe(subscription).await;
        self.1.send_modify(|count| *count += 1);
        subscribed
    }
}

/// The service `go.micro.broker` of ours at this address, and how many have subscribed to it.
async fn served(address: &str) -> (Service, watch::Receiver<usize>) {
    let (sender, count) = watch::channel(0);
    let kept: Arc<dyn Broker> = Arc::new(Counted(Memory::new(), sender));
    let service = Service::builder("go.micro.broker")
        .registry(ours::registry())
        .address(address)
        .grace(Duration::ZERO)
        .broker(kept.clone());
    let endpoints = broker::endpoints(kept);
    let service = endpoints.into_iter().fold(service, |service, one| service.handle(one));
    (service.start().await.expect("the service starts"), count)
}

async fn subscribed(count: &mut watch::Receiver<usize>, wanted: usize) {
    let all = timeout(PATIENCE, count.wait_for(|count| *count >= wanted)).await;
    all.expect("they subscribe in time").expect("the broker is there");
}

/// How often each of our peers' messages came, until there were so many.
async fn counts(peers: &[&micro_tests::peer::Peer], all: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::<String, usize>::new();
    let deadline = Instant::now() + PATIENCE;
    while counts.values().sum::<usize>() < all {
        assert!(Instant::now() < deadline, "{counts:?} of {all} deliveries");
        for peer in peers {
            let events = peer.ask("take", json!({"kind": "message"})).await;
            for event in events.as_array().expect("a list") {
                assert_eq!(event["metadata"]["Tenant"], "blue", "{event}");
                *counts.entry(event["name"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

fn said(name: &str, content_type: &str) -> Value {
    json!({
        "topic": "orders", "message": {"name": name}, "contentType": content_type, "metadata": {"Tenant": "blue"},
    })
}

#[test]
fn service_go_publishes_and_subscribes_by_way_of_our_broker() {
    isolated(&[Need::Go], || async {
        let (service, mut count) = served("127.0.0.1:0").await;
        let address = service.node().address;
        let one = go::serve_with("one", &["--broker", &address, "--subscribe", "orders"]).await;
        let shared = ["--broker", &*address, "--subscribe", "orders:shared"];
        let (two, three) =
            (go::serve_with("two", &shared).await, go::serve_with("three", &shared).await);
        subscribed(&mut count, 3).await;
        let client = go::client_with(&["--broker", &address], &[]).await;
        client.ask("publish", said("Go in protobuf", "application/protobuf")).await;
        client.ask("publish", said("Go in JSON", "application/json")).await;
        // Ours finds it by its name.
        let shop = ours::serve_with("shop", |builder| {
            builder.broker(broker::connect("service://").expect("a broker"))
        });
        let shop = shop.await;
        for codec in [Codec::Proto, Codec::Json] {
            let message = HelloRequest { name: codec.to_string(), ..HelloRequest::default() };
            let publish = shop.service.client().publish("orders", message).codec(codec);
            publish.metadata("tenant", "blue").await.unwrap();
        }
        // Each reaches the one without a queue, and one of those that share.
        let counts = counts(&[&one, &two, &three], 8).await;
        assert!(counts.values().all(|count| *count == 2) && counts.len() == 4, "{counts:?}");
        shop.stop().await;
        service.stop().await.unwrap();
    });
}

#[test]
fn service_go_subscribes_again_to_our_broker_that_was_away() {
    isolated(&[Need::Go], || async {
        let (service, mut count) = served("127.0.0.1:0").await;
        let address = service.node().address;
        let one = go::serve_with("one", &["--broker", &address, "--subscribe", "orders"]).await;
        subscribed(&mut count, 1).await;
        service.stop().await.unwrap();
        let (service, mut count) = served(&address).await;
        subscribed(&mut count, 1).await;
        let client = go::client_with(&["--broker", &address], &[]).await;
        client.ask("publish", said("back", "application/json")).await;
        assert_eq!(counts(&[&one], 1).await.keys().collect::<Vec<_>>(), ["back"]);
        service.stop().await.unwrap();
    });
}

/// A message that a subscriber of ours saw: its name, and the headers `tenant` and `asked-queue`.
type Seen = (String, Option<String>, Option<String>);

/// Publishes until one has come: Go does not say when a subscription stands.
async fn until_seen(seen: &mut UnboundedReceiver<Seen>, publish: impl AsyncFn()) -> Seen {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no message comes");
        publish().await;
        if let Ok(Some(seen)) = timeout(Duration::from_millis(100), seen.recv()).await {
            return seen;
        }
    }
}

#[test]
fn service_we_publish_and_subscribe_by_way_of_a_broker_in_go() {
    isolated(&[Need::Go], || async {
        let go = go::serve_with("go.micro.broker", &["--brokers"]).await;
        let (sender, mut seen) = unbounded_channel();
        let service = ours::serve_with("billing", |builder| {
            let handler = move |context: Context, message: HelloRequest| {
                let header = |name| context.metadata().get(name).map(str::to_owned);
                let seen = (message.name, header("tenant"), header("asked-queue"));
                let sent = sender.send(seen);
                async move { sent.map_err(micro::Error::unexpected) }
            };
            builder
                .broker(broker::connect("service://").expect("a broker"))
                .subscriber(Subscriber::new("orders", handler).queue("billing"))
        });
        let service = service.await;
        let expected =
            |name: &str| (name.to_owned(), Some("blue".to_owned()), Some("billing".to_owned()));
        let publish = async || {
            let message = HelloRequest { name: "ours".into(), ..HelloRequest::default() };
            let publish = service.service.client().publish("orders", message);
            // While its service is not found yet, it fails.
            let _ = publish.metadata("tenant", "blue").await;
        };
        assert_eq!(until_seen(&mut seen, &publish).await, expected("ours"));
        let address = go.fact("address").to_owned();
        let client = go::client_with(&["--broker", &address], &[]).await;
        client.ask("publish", said("from Go", "application/protobuf")).await;
        let next = async {
            loop {
                let next = seen.recv().await.expect("a subscriber");
                if next.0 != "ours" {
                    return next;
                }
            }
        };
        assert_eq!(timeout(PATIENCE, next).await.expect("in time"), expected("from Go"));
        // Another takes its place.
        go.ask("stop", json!({})).await;
        let _other = go::serve_with("go.micro.broker", &["--brokers"]).await;
        while seen.try_recv().is_ok() {}
        assert_eq!(until_seen(&mut seen, &publish).await, expected("ours"));
        service.stop().await;
    });
}
