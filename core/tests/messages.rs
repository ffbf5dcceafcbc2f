//! Services that publish and subscribe: what handlers see, what becomes of failures, the way up and down.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use micro::broker::{Broker, Durable, Memory, Message, Subscriber, Verdict};
use micro::resilience::Backoff;
use micro::service::ServiceBuilder;
use micro::{Client, Code, Context, Error, Json, Service, registry};
use tokio::sync::mpsc;

fn billing(broker: Arc<dyn Broker>) -> ServiceBuilder {
    Service::builder("billing")
        .registry(Arc::new(registry::Memory::new()))
        .address("127.0.0.1:0")
        .propagation(Duration::ZERO)
        .broker(broker)
}

async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    let next = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await;
    next.expect("in time").expect("the handler is there")
}

#[tokio::test]
async fn a_handler_sees_what_was_published_and_what_came_along() {
    let broker = Arc::new(Memory::new());
    let (seen, mut told) = mpsc::unbounded_channel();
    let service = billing(broker.clone())
        .subscribe("orders", move |context: Context, Json(order): Json<u64>| {
            let seen = seen.clone();
            async move {
                let delivered = context.delivered().expect("a message");
                let header = |name| context.metadata().get(name).map(str::to_owned);
                let trace = context.trace().trace_id();
                let _ = seen.send((
                    order,
                    delivered.attempt,
                    header("tenant"),
                    context.caller().map(str::to_owned),
                    header("micro-topic"),
                    trace,
                    context.endpoint().to_owned(),
                ));
                Ok(())
            }
        })
        .endpoint("Shop.Order", |context: Context, Json(order): Json<u64>| async move {
            let client = context.client().expect("a service's");
            client.publish("orders", Json(order)).await?;
            Ok(Json(context.trace().trace_id()))
        })
        .start()
        .await
        .expect("starts");
    let Json(trace): Json<String> = service
        .client()
        .call("billing", "Shop.Order", Json(7_u64))
        .metadata("tenant", "blue")
        .await
        .expect("an answer");
    let seen = next(&mut told).await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        (7, 1, text("blue"), text("billing"), text("orders"), trace, "orders".to_owned())
    );
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn failures_of_messages_are_heard_of_with_their_reasons() {
    let broker: Arc<dyn Broker> = Arc::new(Memory::new());
    let (heard, mut told) = mpsc::unbounded_channel();
    let orders = |_: Context, Json(order): Json<u64>| async move {
        match order {
            0 => panic!("a poisoned order"),
            1 => Err(Error::unavailable("no stock yet")),
            2 => std::future::pending().await,
            _ => Ok(()),
        }
    };
    let service = billing(broker)
        .subscriber(Subscriber::new("orders", orders).timeout(Duration::from_millis(50)))
        .message_errors(move |delivered, error| {
            let body = String::from_utf8_lossy(&delivered.message.body).into_owned();
            heard.send((body, error.code())).expect("the test goes on");
            assert_ne!(error.code(), Code::Unavailable, "what hears of it panics itself");
        })
        .start()
        .await
        .expect("starts");
    let client = service.client();
    for order in 0..4_u64 {
        // A broker in memory tells its publisher.
        assert_eq!(client.publish("orders", Json(order)).await.is_ok(), order == 3);
    }
    client.publish("orders", Json("no number".to_owned())).await.expect_err("it is not read");
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(next(&mut told).await);
    }
    let expected = [
        ("0", Code::Internal),
        ("1", Code::Unavailable),
        ("2", Code::DeadlineExceeded),
        ("\"no number\"", Code::InvalidArgument),
    ];
    assert_eq!(all, expected.map(|(body, code)| (body.to_owned(), code)));
    service.stop().await.expect("stops");
    assert!(told.recv().await.is_none(), "a message that was handled is none");
}

#[tokio::test]
async fn a_failure_is_tried_again_and_one_that_cannot_be_read_is_a_dead_letter_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker: Arc<dyn Broker> = Arc::new(Durable::new(folder.path()));
    let calls = Arc::new(AtomicUsize::new(0));
    let (done, mut told) = mpsc::unbounded_channel();
    let (died, mut dead) = mpsc::unbounded_channel();
    let counted = calls.clone();
    let orders = Subscriber::new("orders", move |context: Context, Json(order): Json<u64>| {
        let (calls, done) = (counted.clone(), done.clone());
        async move {
            match (calls.fetch_add(1, Ordering::SeqCst), order) {
                (_, 0) => panic!("a poisoned order"),
                (0 | 1, _) => Err(Error::unavailable("no stock yet")),
                _ => {
                    let attempt = context.delivered().map(|delivered| delivered.attempt);
                    let _ = done.send((order, attempt));
                    Ok(())
                }
            }
        }
    });
    let letters = Subscriber::raw("orders.dead", move |incoming| {
        let died = died.clone();
        async move {
            let message = &incoming.delivered.message;
            let reason = message.headers.get("micro-dead-reason").unwrap_or_default().to_owned();
            let attempts =
                message.headers.get("micro-dead-attempts").unwrap_or_default().to_owned();
            let _ = died.send((message.body.clone(), attempts, reason));
            Ok(())
        }
    });
    let service = billing(broker)
        .subscriber(orders.queue("billing").retry(Backoff::None).max_attempts(4))
        .subscriber(letters)
        .start()
        .await
        .expect("starts");
    let client = service.client();
    client.publish("orders", Json(7_u64)).await.expect("published");
    assert_eq!(next(&mut told).await, (7, Some(3)));
    client.publish("orders", Json("no number".to_owned())).await.expect("published");
    let (body, attempts, reason) = next(&mut dead).await;
    assert_eq!((&body[..], &*attempts), (&br#""no number""#[..], "1"));
    assert!(reason.contains("INVALID_ARGUMENT"), "{reason}");
    client.publish("orders", Json(0_u64)).await.expect("published");
    let (body, attempts, reason) = next(&mut dead).await;
    assert_eq!((&body[..], &*attempts), (&b"0"[..], "4"));
    // What a panic says is for the log of the service alone, as with calls.
    assert!(reason.contains("panic recovered: the log of the service says more, at "), "{reason}");
    assert!(!reason.contains("poisoned"), "{reason}");
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn instances_share_a_queue_and_each_gets_what_has_none() {
    let broker = Arc::new(Memory::new());
    let (seen, mut told) = mpsc::unbounded_channel();
    let mut instances = Vec::new();
    for instance in 0..2 {
        let subscriber = |topic: &'static str| {
            let seen = seen.clone();
            Subscriber::new(topic, move |_: Context, Json(order): Json<u64>| {
                let seen = seen.clone();
                async move {
                    let _ = seen.send((topic, instance, order));
                    Ok(())
                }
            })
        };
        let service = billing(broker.clone())
            .subscriber(subscriber("shared").queue("billing"))
            .subscriber(subscriber("all"))
            .start();
        instances.push(service.await.expect("starts"));
    }
    let client = instances[0].client();
    for order in 0..10_u64 {
        client.publish("shared", Json(order)).await.expect("published");
    }
    client.publish("all", Json(99_u64)).await.expect("published");
    let mut all = Vec::new();
    for _ in 0..12 {
        all.push(next(&mut told).await);
    }
    let shared: Vec<u64> =
        all.iter().filter(|(topic, ..)| *topic == "shared").map(|(.., order)| *order).collect();
    assert_eq!(shared, Vec::from_iter(0..10));
    let everyone: Vec<_> = all.iter().filter(|(topic, ..)| *topic == "all").collect();
    assert_eq!(everyone.len(), 2);
    assert!(told.try_recv().is_err());
    for service in instances {
        service.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn layers_stand_around_messages_the_first_outermost() {
    let broker = Arc::new(Memory::new());
    let (seen, mut told) = mpsc::unbounded_channel();
    let layer = |name: &'static str| {
        let seen = seen.clone();
        move |incoming: micro::broker::Incoming, next: micro::broker::MessageHandler| {
            let seen = seen.clone();
            async move {
                let _ = seen.send(format!("{name} {}", incoming.delivered.message.topic));
                let outcome = next.run(incoming).await;
                let _ = seen.send(format!("{name} after {}", outcome.is_ok()));
                outcome
            }
        }
    };
    let service = billing(broker.clone())
        .message_layer_fn(layer("outer"))
        .message_layer_fn(layer("inner"))
        .message_layer_fn(
            |incoming: micro::broker::Incoming, next: micro::broker::MessageHandler| async move {
                match incoming.context.metadata().get("tenant") {
                    Some(_) => next.run(incoming).await,
                    None => Err(Error::permission_denied("no tenant")),
                }
            },
        )
        .subscribe("orders", |_: Context, Json(_): Json<u64>| async move { Ok(()) })
        .start()
        .await
        .expect("starts");
    let client = service.client();
    client.publish("orders", Json(1_u64)).metadata("tenant", "blue").await.expect("handled");
    let error = client.publish("orders", Json(1_u64)).await.expect_err("refused");
    assert!(error.detail().contains("no tenant"), "{error}");
    for expected in [
        "outer orders",
        "inner orders",
        "inner after true",
        "outer after true",
        "outer orders",
        "inner orders",
        "inner after false",
        "outer after false",
    ] {
        assert_eq!(next(&mut told).await, expected);
    }
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn a_stop_waits_for_handlers_and_takes_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Arc::new(Durable::new(folder.path()));
    let (begun, mut told) = mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let (waiting, finished) = (release.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = finished.clone();
    let orders = Subscriber::new("orders", move |_: Context, Json(order): Json<u64>| {
        let (begun, waiting, counted) = (begun.clone(), waiting.clone(), counted.clone());
        async move {
            let _ = begun.send(order);
            let _ = waiting.acquire().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let service = billing(broker.clone())
        .subscriber(orders.queue("billing").max_in_flight(1))
        .start()
        .await
        .expect("starts");
    for order in 1..=2_u64 {
        service.client().publish("orders", Json(order)).await.expect("published");
    }
    assert_eq!(next(&mut told).await, 1);
    let stopping = tokio::spawn(async move { service.stop().await });
    while !stopping.is_finished() && release.available_permits() == 0 {
        // It has to hear of the stop before the handler goes on: its subscription is then ended.
        tokio::time::sleep(Duration::from_millis(50)).await;
        release.add_permits(1);
    }
    stopping.await.expect("ends").expect("stops");
    assert_eq!(finished.load(Ordering::SeqCst), 1, "the handler was cut off, or another began");
    let mut subscription = micro::broker::Subscription::new("orders");
    subscription.queue = Some("billing".into());
    let mut left = broker.subscribe(subscription).await.expect("subscribes");
    let delivery = left.next().await.expect("goes on").expect("a message");
    assert_eq!(&delivery.delivered.message.body[..], b"2");
    delivery.settle(Verdict::Ack).await.expect("settled");
}

#[tokio::test]
async fn the_registry_is_told_of_subscribers_in_go_micros_way() {
    let handler = |_: Context, Json(_): Json<u64>| async move { Ok(()) };
    let service = billing(Arc::new(Memory::new()))
        .subscribe("a", handler)
        .subscribe("b", handler)
        .subscriber(Subscriber::new("hidden", handler).internal())
        .start()
        .await
        .expect("starts");
    let record = service.record();
    let told: Vec<_> = record
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.metadata.get("subscriber").is_some_and(|is| is == "true"))
        .map(|endpoint| (endpoint.name.as_str(), endpoint.metadata["topic"].as_str()))
        .collect();
    assert_eq!(told, [("Func", "b"), ("Func", "a")]);
    assert_eq!(record.nodes[0].metadata["broker"], "memory");
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn what_the_broker_cannot_do_keeps_a_service_from_starting() {
    let handler = |_: Context, Json(_): Json<u64>| async move { Ok(()) };
    let subscriber = Subscriber::new("orders", handler).start(micro::broker::Start::First);
    let error = billing(Arc::new(Memory::new())).subscriber(subscriber).start().await.err();
    let error = error.expect("a start that is refused");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        error.detail().contains("leave out `start`, or use one that does, such as durable://"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_publishes_without_a_service_and_to_another_topic_of_the_broker() {
    let broker = Arc::new(Memory::new());
    let mut taken =
        broker.subscribe(micro::broker::Subscription::new("exchange")).await.expect("subscribes");
    let registry = Arc::new(registry::Memory::new());
    let client = Client::builder().registry(registry).broker(broker).build().expect("a client");
    let publishing =
        tokio::spawn(client.publish("orders", Json(1_u64)).exchange("exchange").into_future());
    let delivery = taken.next().await.expect("goes on").expect("a message");
    let message: &Message = &delivery.delivered.message;
    assert_eq!((&*message.topic, message.headers.get("micro-topic")), ("exchange", Some("orders")));
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    delivery.settle(Verdict::Ack).await.expect("settled");
    publishing.await.expect("ends").expect("published");
}

#[tokio::test]
async fn what_a_client_does_not_forward_goes_along_with_no_message_either() {
    let broker = Arc::new(Memory::new());
    let mut taken =
        broker.subscribe(micro::broker::Subscription::new("orders")).await.expect("subscribes");
    let service = billing(broker.clone())
        .client(|client| client.forward(micro::Forward::new().except("tenant-secret")))
        .endpoint("Shop.Order", |context: Context, Json(order): Json<u64>| async move {
            tokio::spawn(context.client()?.publish("orders", Json(order)).into_future());
            context.client()?.publish("orders", Json(order)).await?;
            Ok(Json(order))
        })
        .start()
        .await
        .expect("starts");
    let call = service.client().call("billing", "Shop.Order", Json(7_u64));
    let call = call.metadata("tenant", "blue").metadata("tenant-secret", "hidden");
    let calling = tokio::spawn(async move {
        let reply: Json<u64> = call.await?;
        Ok::<_, Error>(reply)
    });
    let mut tenants = Vec::new();
    for _ in 0..2 {
        let delivery = taken.next().await.expect("goes on").expect("a message");
        let headers = delivery.delivered.message.headers.clone();
        assert_eq!(headers.get("tenant-secret"), None);
        tenants.push(headers.get("tenant").map(str::to_owned));
        delivery.settle(Verdict::Ack).await.expect("settled");
    }
    calling.await.expect("ends").expect("an answer");
    // The one that was published on another task belongs to no call.
    tenants.sort();
    assert_eq!(tenants, [None, Some("blue".to_owned())]);
    service.stop().await.expect("stops");
}

/// A broker that ends every subscription after one message, or the first at once, and refuses every other attempt to subscribe.
#[derive(Debug)]
struct Fickle {
    inside: Arc<dyn Broker>,
    is_first_empty: bool,
    attempts: AtomicUsize,
}

impl Fickle {
    fn new(inside: impl Broker) -> Self {
        Self { inside: Arc::new(inside), is_first_empty: false, attempts: AtomicUsize::new(0) }
    }
}

struct Once(Option<Box<dyn micro::broker::Deliveries>>);

#[async_trait::async_trait]
impl micro::broker::Deliveries for Once {
    async fn next(&mut self) -> micro::Result<Option<micro::broker::Delivery>> {
        let Some(inside) = &mut self.0 else { return Ok(None) };
        let next = inside.next().await;
        self.0 = None;
        next
    }
}

#[async_trait::async_trait]
impl Broker for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }

    fn abilities(&self) -> micro::broker::Abilities {
        self.inside.abilities()
    }

    async fn publish(&self, message: Message) -> micro::Result<()> {
        self.inside.publish(message).await
    }

    async fn subscribe(
        &self,
        subscription: micro::broker::Subscription,
    ) -> micro::Result<Box<dyn micro::broker::Deliveries>> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        if attempt % 2 == 1 {
            return Err(Error::unavailable("not now"));
        }
        let subscribed = self.inside.subscribe(subscription).await?;
        Ok(Box::new(Once((attempt > 0 || !self.is_first_empty).then_some(subscribed))))
    }
}

#[tokio::test]
async fn a_client_takes_messages_itself_also_from_a_broker_that_ends_its_subscriptions() {
    let broker = Arc::new(Fickle::new(Memory::new()));
    let registry = Arc::new(registry::Memory::new());
    let client =
        Client::builder().registry(registry).broker(broker.clone()).build().expect("a client");
    let mut taken =
        client.subscribe(micro::broker::Subscription::new("orders")).await.expect("subscribes");
    for round in 0..3_u64 {
        let publishing = client.clone();
        // Nothing is kept for a subscription that is not there yet.
        let publishing = tokio::spawn(async move {
            loop {
                publishing.publish("orders", Json(round)).await.expect("published");
                tokio::task::yield_now().await;
            }
        });
        let delivery = taken.next().await;
        publishing.abort();
        assert_eq!(delivery.delivered.message.body, round.to_string());
        delivery.settle(Verdict::Ack).await.expect("settled");
    }
    let wrong = micro::broker::Subscription::new("");
    assert_eq!(client.subscribe(wrong).await.expect_err("refused").code(), Code::InvalidArgument);
}

fn client_of(broker: Fickle) -> Client {
    let registry = Arc::new(registry::Memory::new());
    Client::builder().registry(registry).broker(Arc::new(broker)).build().expect("a client")
}

#[tokio::test]
async fn a_subscription_without_a_queue_goes_on_where_it_was_when_it_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = client_of(Fickle::new(Durable::new(folder.path())));
    let mut subscription = micro::broker::Subscription::new("orders");
    subscription.start = micro::broker::Start::First;
    for order in 0..2_u64 {
        client.publish("orders", Json(order)).await.expect("published");
    }
    let mut taken = client.subscribe(subscription).await.expect("subscribes");
    let soon = Duration::from_secs(20);
    let mut next = async || {
        let delivery = tokio::time::timeout(soon, taken.next()).await.expect("a message in time");
        (delivery.delivered.message.body.clone(), delivery)
    };
    let (body, delivery) = next().await;
    assert_eq!(body, "0");
    delivery.settle(Verdict::Ack).await.expect("settled");
    let (body, unsettled) = next().await;
    assert_eq!(body, "1", "what was handled does not come again");
    let (body, delivery) = next().await;
    assert_eq!(body, "1", "what was not settled does");
    delivery.settle(Verdict::Ack).await.expect("settled");
    drop(unsettled);
}

#[tokio::test]
async fn what_is_published_while_a_subscription_without_a_queue_is_made_again_is_not_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let fickle = Fickle { is_first_empty: true, ..Fickle::new(Durable::new(folder.path())) };
    let client = client_of(fickle);
    client.publish("orders", Json(0_u64)).await.expect("published");
    // Brokers tell times to the millisecond.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut taken =
        client.subscribe(micro::broker::Subscription::new("orders")).await.expect("subscribes");
    tokio::time::sleep(Duration::from_millis(5)).await;
    client.publish("orders", Json(1_u64)).await.expect("published");
    let delivery = tokio::time::timeout(Duration::from_secs(20), taken.next()).await;
    assert_eq!(delivery.expect("a message in time").delivered.message.body, "1");
}
