//! A durable broker in one process, between two, and over power cuts.

mod compact;
mod named;
mod power;
mod terms;
mod together;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::engine::{Engine, Retention};
use super::{Durable, Shared};
use crate::broker::contract::Subject;
use crate::broker::{Broker, Deliveries, Delivery, Message, Start, Subscription, Verdict};
use crate::data::Forgetful;
use crate::data::log::{Level, Settings};
use crate::error::Code;

const SOON: Duration = Duration::from_secs(20);

/// Handles in one process know of each other only by the folder here, as those of two processes do.
fn pair() -> (tempfile::TempDir, Durable, Durable) {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Durable::new(folder.path()), Durable::new(folder.path()));
    (folder, first, second)
}

fn queue(topic: &str, queue: &str) -> Subscription {
    let mut subscription = Subscription::new(topic);
    subscription.queue = Some(queue.into());
    subscription.start = Start::First;
    subscription
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    let delivery = timeout(SOON, deliveries.next()).await.expect("a message in time");
    delivery.unwrap().expect("the broker goes on")
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.delivered.message.body.to_vec()).unwrap()
}

/// What a disk has.
fn open(disk: &Forgetful, settings: Settings) -> Engine {
    let dedup = Duration::from_secs(120);
    let opened = Engine::open(Arc::new(disk.clone()), None, settings, Level::Synced, dedup);
    opened.unwrap().0
}

/// Takes the next message and acknowledges it.
async fn take(deliveries: &mut Box<dyn Deliveries>) -> String {
    let delivery = next(deliveries).await;
    let body = body(&delivery);
    delivery.settle(Verdict::Ack).await.unwrap();
    body
}

async fn publish(broker: &Durable, topic: &str, body: &str) {
    broker.publish(Message::new(topic, body.to_owned())).await.unwrap();
}

/// In the process that owns the folder.
mod owner {
    use super::*;

    crate::broker_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let broker = Durable::new(folder.path());
        Subject::new(broker.clone(), broker).keeping(folder)
    });
}

/// Between one that owns the folder and one that does not: the first to publish or subscribe becomes the owner.
mod other {
    use super::*;

    crate::broker_contract!(|| {
        let (folder, first, second) = pair();
        Subject::new(first, second).keeping(folder)
    });
}

#[tokio::test]
async fn messages_survive_their_owner_and_are_delivered_by_the_next() {
    let (_folder, first, second) = pair();
    publish(&first, "orders", "1").await;
    publish(&second, "orders", "2").await;
    let mut taken = second.subscribe(queue("orders", "billing")).await.unwrap();
    let one = next(&mut taken).await;
    assert_eq!(body(&one), "1");
    one.settle(Verdict::Ack).await.unwrap();
    let two = next(&mut taken).await;
    assert_eq!((&*body(&two), two.delivered.attempt), ("2", 1));
    first.close().await.unwrap();
    // The subscription ends with its owner, and the message that was not settled is delivered again.
    assert_eq!(taken.next().await.unwrap_err().code(), Code::Unavailable);
    drop((two, taken));
    publish(&second, "orders", "3").await;
    let mut taken = second.subscribe(queue("orders", "billing")).await.unwrap();
    let again = next(&mut taken).await;
    assert_eq!((&*body(&again), again.delivered.attempt), ("2", 2));
    assert_eq!(take(&mut taken).await, "3");
    assert!(matches!(&**second.shared.seat.way.lock().await.as_ref().unwrap(), super::Way::Own(_)));
}

#[tokio::test]
async fn a_consumer_that_gives_no_sign_of_life_loses_its_message_to_another() {
    let (_folder, broker, other) = pair();
    publish(&broker, "orders", "1").await;
    let mut subscription = queue("orders", "billing");
    subscription.lease = Duration::from_millis(200);
    subscription.max_attempts = 100;
    for broker in [&broker, &other] {
        let mut silent = broker.subscribe(subscription.clone()).await.unwrap();
        let held = next(&mut silent).await;
        let attempt = held.delivered.attempt;
        let again = next(&mut silent).await;
        assert_eq!(again.delivered.attempt, attempt + 1);
        // A verdict that comes too late changes nothing.
        held.settle(Verdict::Ack).await.unwrap();
        let third = next(&mut silent).await;
        assert_eq!(third.delivered.attempt, attempt + 2);
        drop((again, third));
    }
}

#[tokio::test]
async fn a_message_that_fails_too_often_is_a_dead_letter_that_says_why() {
    let (_folder, broker, _) = pair();
    let mut headers = Message::new("orders", "poison");
    headers.headers.insert("tenant", "blue").unwrap();
    broker.publish(headers).await.unwrap();
    let mut subscription = queue("orders", "billing");
    subscription.max_attempts = 2;
    let mut taken = broker.subscribe(subscription).await.unwrap();
    for attempt in 1..=2 {
        let delivery = next(&mut taken).await;
        assert_eq!(delivery.delivered.attempt, attempt);
        let verdict = Verdict::Retry(Duration::ZERO, format!("no stock\n{attempt}"));
        delivery.settle(verdict).await.unwrap();
    }
    let mut dead = broker.subscribe(queue("orders.dead", "people")).await.unwrap();
    let letter = next(&mut dead).await;
    assert_eq!(body(&letter), "poison");
    let headers = &letter.delivered.message.headers;
    for (name, value) in [
        ("tenant", "blue"),
        ("micro-dead-topic", "orders"),
        ("micro-dead-queue", "billing"),
        ("micro-dead-attempts", "2"),
        ("micro-dead-reason", "no stock2"),
    ] {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn terms_of_messages_hold() {
    let (_folder, broker, _) = pair();
    let now = SystemTime::now();
    for (body, delay, life) in
        [("late", Some(300), None), ("over", Some(100), Some(10)), ("now", None, Some(60_000))]
    {
        let mut message = Message::new("orders", body);
        if let Some(delay) = delay {
            message = message.delay(Duration::from_millis(delay));
        }
        if let Some(life) = life {
            message = message.expires_in(Duration::from_millis(life));
        }
        broker.publish(message).await.unwrap();
    }
    let mut taken = broker.subscribe(queue("orders", "billing")).await.unwrap();
    assert_eq!(take(&mut taken).await, "now");
    let late = next(&mut taken).await;
    assert_eq!(body(&late), "late");
    assert!(now.elapsed().unwrap() >= Duration::from_millis(300));
    let mut again = Subscription::new("orders");
    again.start = Start::Sequence(late.delivered.sequence.unwrap());
    let mut taken = broker.subscribe(again).await.unwrap();
    assert_eq!(take(&mut taken).await, "late");
    let mut again = Subscription::new("orders");
    again.start = Start::Time(SystemTime::now());
    let mut taken = broker.subscribe(again).await.unwrap();
    publish(&broker, "orders", "new").await;
    assert_eq!(take(&mut taken).await, "new");
}

#[tokio::test]
async fn old_messages_are_removed_and_an_idle_queue_is_where_it_was() {
    let disk = Forgetful::default();
    let settings = Settings { segment_bytes: 4096, ..Settings::default() };
    let engine = open(&disk, settings);
    engine.publish(&Message::new("seldom", "1")).await.unwrap();
    let mut taken: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("seldom", "idle")).await.unwrap());
    next(&mut taken).await.settle(Verdict::Ack).await.unwrap();
    drop(taken);
    for number in 0..200 {
        engine.publish(&Message::new("often", format!("{number:0100}"))).await.unwrap();
    }
    let retention =
        Retention { bytes: 8192, age: Duration::from_secs(3600), compacted: Arc::default() };
    let freed = engine.tidy(&retention).await.unwrap();
    assert!(freed > 8192, "{freed}");
    engine.publish(&Message::new("seldom", "2")).await.unwrap();
    engine.close().await.unwrap();
    let engine = open(&disk, settings);
    let mut taken: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("seldom", "idle")).await.unwrap());
    let delivery = next(&mut taken).await;
    assert_eq!(body(&delivery), "2", "the queue began anew");
    let mut kept: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("often", "all")).await.unwrap());
    let first: u32 = take(&mut kept).await.trim_start_matches('0').parse().unwrap();
    assert!((100..199).contains(&first), "{first}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Durable::new(file.path().join("x")).publish(Message::new("a", "")).await;
    assert_eq!(error.unwrap_err().code(), Code::FailedPrecondition);
    let long = tempfile::tempdir().unwrap();
    let deep = long.path().join("d".repeat(120));
    let error = Durable::new(&deep).publish(Message::new("a", "")).await.unwrap_err();
    assert!(error.detail().contains("too long for a socket"), "{error}");
}

#[test]
fn handles_are_small() {
    assert!(size_of::<Durable>() <= 16 && size_of::<Shared>() < 400);
}
