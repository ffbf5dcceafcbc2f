//! What every broker does, whatever it promises beyond: one test for all of them.

use std::time::Duration;

use tokio::time::timeout;

use super::{Broker, Deliveries, Delivery, Message, Subscription, Verdict};
use crate::error::Code;

const SOON: Duration = Duration::from_secs(20);

/// Runs all cases; `broker` gives a handle on one and the same.
pub(super) async fn check<B: Broker>(broker: impl Fn() -> B) {
    messages_arrive_as_they_were_sent(&broker()).await;
    a_queue_shares_and_others_get_all(&broker(), &broker()).await;
    a_subscription_that_is_dropped_gets_nothing(&broker()).await;
    what_it_cannot_do_is_refused(&broker()).await;
    if broker().abilities().redelivers {
        a_failure_is_delivered_again(&broker()).await;
        keys_keep_their_order(&broker()).await;
    }
}

/// Subscribes, acknowledges all that comes and hands it on.
async fn collect(
    broker: &dyn Broker,
    subscription: Subscription,
) -> tokio::sync::mpsc::UnboundedReceiver<Message> {
    let mut deliveries = broker.subscribe(subscription).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(delivery)) = deliveries.next().await {
            let message = delivery.delivered.message.clone();
            if delivery.settle(Verdict::Ack).await.is_err() || sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    timeout(SOON, deliveries.next()).await.unwrap().unwrap().unwrap()
}

async fn messages_arrive_as_they_were_sent(broker: &dyn Broker) {
    let mut received = collect(broker, Subscription::new("as/they were.sent: ü")).await;
    let mut message = Message::new("as/they were.sent: ü", vec![0, 255, 13, 10, 128]);
    message.content_type = Some("application/x-odd".into());
    message.headers.append("tag", "a").unwrap();
    message.headers.insert_bin("trace-bin", &[0, 1, 255]).unwrap();
    broker.publish(message.clone()).await.unwrap();
    assert_eq!(timeout(SOON, received.recv()).await.unwrap(), Some(message));
    let empty = Message::new("as/they were.sent: ü", "");
    broker.publish(empty.clone()).await.unwrap();
    assert_eq!(timeout(SOON, received.recv()).await.unwrap(), Some(empty));
}

async fn a_queue_shares_and_others_get_all(broker: &dyn Broker, other: &dyn Broker) {
    let mut shared = Subscription::new("shares");
    shared.queue = Some("workers".into());
    let mut second = Subscription::new("shares");
    second.queue = Some("auditors".into());
    let mut workers = [collect(broker, shared.clone()).await, collect(other, shared.clone()).await];
    let mut auditors = collect(broker, second).await;
    let mut everyone = [
        collect(broker, Subscription::new("shares")).await,
        collect(other, Subscription::new("shares")).await,
    ];
    let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    for body in &expected {
        broker.publish(Message::new("shares", body.clone())).await.unwrap();
    }
    let text = |message: Message| String::from_utf8(message.body.to_vec()).unwrap();
    for receiver in everyone.iter_mut().chain([&mut auditors]) {
        let mut got = Vec::new();
        while got.len() < 40 {
            got.push(text(timeout(SOON, receiver.recv()).await.unwrap().unwrap()));
        }
        assert_eq!(got, expected);
    }
    let mut got = Vec::new();
    while got.len() < 40 {
        let [a, b] = &mut workers;
        let next = async {
            tokio::select! { Some(next) = a.recv() => next, Some(next) = b.recv() => next }
        };
        got.push(text(timeout(SOON, next).await.unwrap()));
    }
    got.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(got, expected);
    for receiver in everyone.iter_mut().chain(&mut workers).chain([&mut auditors]) {
        assert!(receiver.try_recv().is_err(), "a message came twice");
    }
}

async fn a_subscription_that_is_dropped_gets_nothing(broker: &dyn Broker) {
    let mut kept = collect(broker, Subscription::new("dropped")).await;
    let gone = broker.subscribe(Subscription::new("dropped")).await.unwrap();
    drop(gone);
    broker.publish(Message::new("dropped", "1")).await.unwrap();
    assert!(timeout(SOON, kept.recv()).await.unwrap().is_some());
    // Without subscribers, a message is no failure.
    broker.publish(Message::new("nobody", "1")).await.unwrap();
}

async fn what_it_cannot_do_is_refused(broker: &dyn Broker) {
    let code = |result: crate::Result<()>| result.unwrap_err().code();
    assert_eq!(code(broker.publish(Message::new("", "")).await), Code::InvalidArgument);
    assert_eq!(code(broker.publish(Message::new("a\nb", "")).await), Code::InvalidArgument);
    let abilities = broker.abilities();
    let delayed = Message::new("refused", "").delay(Duration::from_millis(1));
    assert_eq!(broker.publish(delayed).await.is_ok(), abilities.delays);
    let mut keyed = Message::new("refused", "");
    keyed.key = Some("k".into());
    assert_eq!(broker.publish(keyed).await.is_ok(), abilities.orders_by_key);
    let mut replaying = Subscription::new("refused");
    replaying.start = super::Start::First;
    assert_eq!(broker.subscribe(replaying).await.is_ok(), abilities.replays);
    let mut none = Subscription::new("refused");
    none.max_in_flight = 0;
    assert_eq!(code(broker.subscribe(none).await.map(drop)), Code::InvalidArgument);
}

async fn a_failure_is_delivered_again(broker: &dyn Broker) {
    let mut subscription = Subscription::new("again");
    subscription.queue = Some("workers".into());
    let mut deliveries = broker.subscribe(subscription).await.unwrap();
    broker.publish(Message::new("again", "1")).await.unwrap();
    let first = next(&mut deliveries).await;
    assert_eq!(first.delivered.attempt, 1);
    let wait = Duration::from_millis(150);
    let begun = std::time::Instant::now();
    first.settle(Verdict::Retry(wait, "failed".into())).await.unwrap();
    let second = next(&mut deliveries).await;
    assert!(begun.elapsed() >= wait);
    assert_eq!(second.delivered.attempt, 2);
    // One that is given up without a word.
    drop(second);
    let third = next(&mut deliveries).await;
    assert_eq!((third.delivered.attempt, &third.delivered.message.body[..]), (3, &b"1"[..]));
    third.settle(Verdict::Ack).await.unwrap();
    broker.publish(Message::new("again", "2")).await.unwrap();
    assert_eq!(next(&mut deliveries).await.delivered.message.body, "2");
}

async fn keys_keep_their_order(broker: &dyn Broker) {
    let mut subscription = Subscription::new("keys");
    subscription.queue = Some("workers".into());
    let mut deliveries = broker.subscribe(subscription).await.unwrap();
    for (body, key) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        let mut message = Message::new("keys", body);
        message.key = Some(key.into());
        broker.publish(message).await.unwrap();
    }
    let first = next(&mut deliveries).await;
    let second = next(&mut deliveries).await;
    assert_eq!(first.delivered.message.body, "a1");
    assert_eq!(second.delivered.message.body, "b1");
    first.settle(Verdict::Ack).await.unwrap();
    assert_eq!(next(&mut deliveries).await.delivered.message.body, "a2");
}
