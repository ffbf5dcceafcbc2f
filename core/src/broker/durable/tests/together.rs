//! Messages that are published at the same time.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

/// Publishes numbers at once; which of them were acknowledged.
async fn publish_all(broker: &Durable, numbers: std::ops::Range<usize>) -> BTreeSet<usize> {
    let publishing = numbers.map(async |number| {
        let message = Message::new("orders", number.to_string());
        (number, broker.publish(message).await)
    });
    let published = timeout(SOON, join_all(publishing)).await.expect("each is answered in time");
    published.into_iter().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| number).collect()
}

#[tokio::test]
async fn messages_that_another_process_publishes_at_once_are_all_there() {
    let (_folder, owner, other) = pair();
    owner.own().await.unwrap();
    // More than there are places in a frame, and more than wait for one.
    let published = publish_all(&other, 0..3000).await;
    assert_eq!(published.len(), 3000);
    let mut subscription = queue("orders", "billing");
    subscription.max_in_flight = 64;
    let mut taken = owner.subscribe(subscription).await.unwrap();
    let mut delivered = BTreeSet::new();
    for _ in 0..3000 {
        delivered.insert(take(&mut taken).await.parse().unwrap());
    }
    assert_eq!(delivered, published);
}

#[tokio::test]
async fn an_owner_that_ends_leaves_no_publisher_waiting_and_loses_nothing_acknowledged() {
    let (_folder, owner, other) = pair();
    owner.own().await.unwrap();
    publish(&other, "orders", "first").await;
    let (acknowledged, closed) =
        tokio::join!(publish_all(&other, 0..2000), async { owner.close().await });
    closed.unwrap();
    drop(owner);
    publish(&other, "orders", "last").await;
    let mut taken = other.subscribe(queue("orders", "billing")).await.unwrap();
    let mut delivered = BTreeSet::new();
    loop {
        match &*take(&mut taken).await {
            "last" => break,
            "first" => {}
            number => drop(delivered.insert(number.parse().unwrap())),
        }
    }
    assert!(delivered.is_superset(&acknowledged), "{:?}", acknowledged.difference(&delivered));
}

#[tokio::test]
async fn a_message_that_is_refused_takes_no_other_with_it() {
    let settings = Settings { record_bytes: 1000, ..Settings::default() };
    let engine = open(&Forgetful::default(), settings);
    let mut messages: Vec<_> =
        (0..5).map(|nth| (nth, Message::new("orders", nth.to_string()))).collect();
    messages[2].1.body = vec![0; 2000].into();
    messages[3].1.id = Some("3".into());
    let failed = engine.publish_all(messages.clone()).await;
    let codes: Vec<_> = failed.iter().map(|(nth, error)| (*nth, error.code())).collect();
    assert_eq!(codes, [(2, Code::InvalidArgument)]);
    // The one with an id is not written again.
    messages.retain(|(nth, _)| *nth == 3);
    assert!(engine.publish_all(messages).await.is_empty());
    let mut taken: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("orders", "billing")).await.unwrap());
    let mut bodies = BTreeSet::new();
    for _ in 0..4 {
        bodies.insert(take(&mut taken).await);
    }
    assert_eq!(bodies, ["0", "1", "3", "4"].map(String::from).into());
    assert_eq!(engine.log.topic_end(b"orders"), engine.log.topic_end(b"\x01ids") - 1);
}
