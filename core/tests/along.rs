//! What goes along with messages: trace, metadata, deadline, what an event says of itself.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]
#![cfg(unix)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use micro::broker::{Broker, CloudEvent, Durable, Incoming, Memory, Subscriber};
use micro::resilience::Backoff;
use micro::service::ServiceBuilder;
use micro::{Client, Code, Context, Error, Json, Raw, Service, registry};
use tokio::sync::mpsc;

fn service(broker: Arc<dyn Broker>) -> ServiceBuilder {
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

/// What a handler has of the call that a message began with.
fn seen(context: &Context) -> [Option<String>; 4] {
    let header = |name| context.metadata().get(name).map(str::to_owned);
    let trace = Some(context.trace().trace_id());
    [trace, header("tenant"), context.caller().map(str::to_owned), header("authorization")]
}

#[tokio::test]
async fn trace_metadata_and_caller_go_along_through_a_delay_a_retry_and_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a folder");
    let (told, mut heard) = mpsc::unbounded_channel();
    let (died, mut dead) = mpsc::unbounded_channel();
    let (published, mut further) = mpsc::unbounded_channel();
    let orders = Subscriber::new("orders", move |context: Context, Json(_): Json<u64>| {
        let _ = told.send(seen(&context));
        async { Err(Error::unavailable("no stock")) }
    });
    // What a handler of dead letters publishes belongs to the same trace, and is no dead letter itself.
    let letters = Subscriber::raw("orders.dead", move |Incoming { context, .. }| {
        let _ = died.send(seen(&context));
        async move { context.client()?.publish("alarms", Raw::from("look")).await }
    });
    let alarms = Subscriber::raw("alarms", move |Incoming { context, .. }| {
        let is_dead = context.metadata().get("micro-dead-reason").is_some();
        let _ = published.send((seen(&context), is_dead));
        async { Ok(()) }
    });
    let service = service(Arc::new(Durable::new(folder.path())))
        .subscriber(orders.queue("billing").retry(Backoff::None).max_attempts(2))
        .subscriber(letters.queue("people"))
        .subscriber(alarms.queue("people"))
        .endpoint("Shop.Order", |context: Context, Json(order): Json<u64>| async move {
            let delay = Duration::from_millis(50);
            context.client()?.publish("orders", Json(order)).delay(delay).await?;
            Ok(Json(context.trace().trace_id()))
        })
        .start()
        .await
        .expect("starts");
    let call = service.client().call("billing", "Shop.Order", Json(7_u64));
    let call = call.metadata("tenant", "blue").metadata("authorization", "Bearer secret");
    let Json(trace): Json<String> = call.await.expect("an answer");
    let text = |text: &str| Some(text.to_owned());
    // Credentials would lie on the disk: they go along only where a rule of the client says so.
    let expected = [Some(trace), text("blue"), text("billing"), None];
    assert_eq!(next(&mut heard).await, expected, "after a delay");
    assert_eq!(next(&mut heard).await, expected, "at the second attempt");
    assert_eq!(next(&mut dead).await, expected, "as a dead letter");
    assert_eq!(next(&mut further).await, (expected, false), "with what its handler publishes");
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn the_expiry_of_a_message_is_the_deadline_of_its_handler() {
    let folder = tempfile::tempdir().expect("a folder");
    let (told, mut heard) = mpsc::unbounded_channel();
    let orders = Subscriber::new("orders", move |context: Context, Json(order): Json<u64>| {
        let _ = told.send((order, context.remaining()));
        async move {
            if order == 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let service = service(Arc::new(Durable::new(folder.path())))
        .subscriber(orders.queue("billing").timeout(Duration::from_secs(60)).max_in_flight(1))
        .start()
        .await
        .expect("starts");
    let client = service.client();
    let life = Duration::from_millis(300);
    client.publish("orders", Json(1_u64)).expires_in(life).await.expect("published");
    client.publish("orders", Json(2_u64)).await.expect("published");
    let (order, remaining) = next(&mut heard).await;
    assert!(order == 1 && remaining.is_some_and(|left| left <= life), "{remaining:?}");
    // Its handler is ended with it, and it is not delivered again.
    let (order, remaining) = next(&mut heard).await;
    assert!(order == 2 && remaining.is_some_and(|left| left > life), "{remaining:?}");
    service.stop().await.expect("stops");
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_cloud_event_says_of_itself_what_its_publisher_said() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let (passed, mut further) = mpsc::unbounded_channel();
    let orders = Subscriber::new("orders", move |context: Context, Json(order): Json<u64>| {
        let told = told.clone();
        async move {
            let _ = told.send((order, context.cloud_event()));
            context.client()?.publish("plain", Json(order)).await
        }
    });
    let plain = Subscriber::raw("plain", move |Incoming { context, delivered, .. }| {
        let _ = passed.send((context.cloud_event(), delivered.message.headers.clone()));
        async { Ok(()) }
    });
    let service = service(Arc::new(Memory::new())).subscriber(orders).subscriber(plain);
    let service = service.start().await.expect("starts");
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
    let event = CloudEvent::new("/shop", "com.example.order.placed").subject("7").time(time);
    let client = service.client();
    let publish = client.publish("orders", Json(7_u64)).cloud_event(event.clone().id("7-placed"));
    publish.await.expect("published");
    let (order, told) = next(&mut heard).await;
    assert_eq!((order, told), (7, Ok(event.clone().id("7-placed"))));
    // What a handler publishes is no event because what it handles is one.
    let (error, headers) = next(&mut further).await;
    assert_eq!(error.expect_err("no event").code(), Code::InvalidArgument);
    assert!(!headers.iter().any(|(name, _)| name.starts_with("ce-")), "{headers:?}");
    // Without an id of its own, it has one that no other has.
    let mut ids = Vec::new();
    for _ in 0..2 {
        let publish = client.publish("orders", Json(7_u64)).cloud_event(event.clone());
        publish.await.expect("published");
        ids.push(next(&mut heard).await.1.expect("an event").id);
    }
    assert!(ids[0].is_some() && ids[0] != ids[1], "{ids:?}");
    let wrong = client.publish("orders", Json(7_u64)).cloud_event(CloudEvent::new("", "placed"));
    assert_eq!(wrong.await.expect_err("no source").code(), Code::InvalidArgument);
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn an_event_publishes_to_its_topic_each_time() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let orders = Subscriber::new("orders", move |context: Context, Json(order): Json<u64>| {
        let header = context.metadata().get("micro-topic").map(str::to_owned);
        let _ = told.send((order, header, context.metadata().get("tenant").map(str::to_owned)));
        async { Ok(()) }
    });
    let broker = Arc::new(Memory::new());
    let service = service(broker.clone()).subscriber(orders).start().await.expect("starts");
    let registry = Arc::new(registry::Memory::new());
    let client = Client::builder().registry(registry).broker(broker).build().expect("a client");
    let event = client.event("orders");
    assert_eq!(event.topic(), "orders");
    for order in 1..=2_u64 {
        event.publish(Json(order)).metadata("tenant", "blue").await.expect("published");
        let topic = Some("orders".to_owned());
        assert_eq!(next(&mut heard).await, (order, topic, Some("blue".to_owned())));
    }
    service.stop().await.expect("stops");
}
