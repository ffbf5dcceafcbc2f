//! What every broker does, whatever it promises beyond. One function a promise.

use std::time::Duration;

use tokio::time::timeout;

use super::Subject;
use super::steps::{refused, text, unique, worker};
use crate::broker::{Message, Start, Subscription};
use crate::error::Code;

pub(super) async fn messages_arrive_as_they_were_sent(subject: &Subject) {
    let topic = unique("as/they were.sent: ü");
    let mut received = subject.collect(&*subject.subscriber, Subscription::new(&topic)).await;
    let mut message = Message::new(&topic, vec![0, 255, 13, 10, 128]);
    message.content_type = Some("application/x-odd".into());
    message.headers.append("tag", "a").expect("a header");
    message.headers.insert_bin("trace-bin", &[0, 1, 255]).expect("a header");
    subject.publish(message.clone()).await;
    assert_eq!(received.next().await, message, "a message arrives as it was sent");
    let empty = Message::new(&topic, "");
    subject.publish(empty.clone()).await;
    assert_eq!(received.next().await, empty, "a message may be empty");
}

pub(super) async fn headers_of_any_kind_arrive(subject: &Subject) {
    let topic = unique("headers");
    let mut received = subject.collect(&*subject.subscriber, Subscription::new(&topic)).await;
    let mut message = Message::new(&topic, "body");
    let long = "v".repeat(8_000);
    for (name, value) in [
        ("body", "not the body"),
        ("topic", "another"),
        ("key", "none"),
        ("id", "0"),
        ("due", "99999999999999"),
        ("expires", "1"),
        ("nats-rollup", "all"),
        ("nats-msg-id", "the same"),
        ("nats-expected-stream", "another"),
        ("status", "503"),
        ("x-quotes", r#"a "b" \c, 'd'; e=%0d%0a"#),
        ("x-colons", "a: b: c"),
        ("x-json", r#"{"Header":{"a":"b"}}"#),
        ("x!#$%&'*+-.^_`|~9", "every letter that a name may have"),
        ("x-long", &long),
    ] {
        message.headers.append(name, value).expect("a header");
    }
    if subject.repeats_headers {
        for value in ["a", "b, c", "a"] {
            message.headers.append("x-tags", value).expect("a header");
        }
    }
    for number in 0..100 {
        message.headers.append(&format!("x-many-{number}"), "1").expect("a header");
    }
    subject.publish(message.clone()).await;
    assert_eq!(received.next().await, message, "headers arrive as they were sent");
    subject.publish(message.clone()).await;
    assert_eq!(
        received.next().await,
        message,
        "no header makes a broker take a message for another"
    );
}

pub(super) async fn topics_of_any_text_are_kept_apart(subject: &Subject) {
    let own = unique("t");
    let plain = [
        "N",
        "N.b",
        "N b",
        "Nb*",
        "N%2A",
        "N%20b",
        ".N",
        "N.",
        "N..b",
        "%N",
        "$SYS.N",
        "_INBOX.N",
        "N/日本",
        "N:b",
        "{N}",
        "N\\b",
        "N\"b",
        "N?b=c#d",
        "N b ",
        " N",
        "N~b",
        "N@b|c,d;e",
        "-N",
        "n",
    ];
    let patterns = ["N.*", "*.N", "N.>", "N.*.b"];
    let patterns = if subject.has_wildcards { &[][..] } else { &patterns[..] };
    let mut topics: Vec<String> =
        plain.iter().chain(patterns).map(|topic| topic.replace('N', &own)).collect();
    topics.push(format!("{own}{}", "l".repeat(512 - own.len())));
    // One that differs by case alone.
    topics.push(own.to_uppercase());
    topics.sort_unstable();
    topics.dedup();
    let mut all = Vec::new();
    for topic in &topics {
        all.push(subject.collect(&*subject.subscriber, Subscription::new(topic)).await);
    }
    for topic in &topics {
        subject.publish(Message::new(topic, topic.clone())).await;
    }
    for (topic, received) in topics.iter().zip(&mut all) {
        let message = received.next().await;
        assert_eq!((text(&message), &message.topic), (&**topic, topic), "a topic is what it was");
    }
    for received in &mut all {
        received.nothing("a subscription gets the messages of its topic alone").await;
    }
}

pub(super) async fn a_message_arrives_whole_or_is_refused_whatever_its_size(subject: &Subject) {
    let topic = unique("sizes");
    let mut received = subject.collect(&*subject.subscriber, Subscription::new(&topic)).await;
    for size in [200_000, 3 << 20, 9 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let message = Message::new(&topic, bytes);
        match timeout(subject.patience, subject.publisher.publish(message.clone())).await {
            Err(_) => panic!("publishing {size} bytes ends in time"),
            Ok(Ok(())) => {
                assert!(received.next().await == message, "{size} bytes arrive as they were sent");
            }
            Ok(Err(error)) => assert!(
                matches!(error.code(), Code::InvalidArgument | Code::ResourceExhausted),
                "what is too large is refused with INVALID_ARGUMENT or RESOURCE_EXHAUSTED: {error}"
            ),
        }
    }
    subject.publish(Message::new(&topic, "small")).await;
    assert_eq!(received.next().await.body, "small", "one that is too large harms no other");
}

pub(super) async fn a_queue_shares_and_others_get_all(subject: &Subject) {
    let topic = unique("shares");
    let mut second = Subscription::new(&topic);
    second.queue = Some("auditors of the house: ü/.*>".into());
    let (one, other) = (&*subject.publisher, &*subject.subscriber);
    let mut workers =
        [subject.collect(one, worker(&topic)).await, subject.collect(other, worker(&topic)).await];
    let mut everyone = [
        subject.collect(one, Subscription::new(&topic)).await,
        subject.collect(other, Subscription::new(&topic)).await,
        subject.collect(other, second).await,
    ];
    let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    for body in &expected {
        subject.publish(Message::new(&topic, body.clone())).await;
    }
    for received in &mut everyone {
        let mut got = Vec::new();
        while got.len() < 40 {
            got.push(text(&received.next().await).to_owned());
        }
        assert_eq!(got, expected, "each queue and each without one gets all, in their order");
    }
    let mut got = Vec::new();
    while got.len() < 40 {
        let [a, b] = &mut workers;
        let next = async {
            tokio::select! { next = a.try_next() => next, next = b.try_next() => next }
        };
        let next = timeout(subject.patience, next).await;
        let next = next.expect("a queue gets every message").expect("its members last");
        got.push(text(&next).to_owned());
    }
    got.sort_by_key(|body| body.parse::<u32>().unwrap_or(u32::MAX));
    assert_eq!(got, expected, "each message goes to one member of a queue");
    for received in everyone.iter_mut().chain(&mut workers) {
        received.nothing("a message comes once to a queue and to each without one").await;
    }
}

pub(super) async fn a_subscription_that_is_dropped_gets_nothing(subject: &Subject) {
    let topic = unique("dropped");
    let gone = subject.subscribe(worker(&topic)).await;
    drop(gone);
    let gone = subject.subscribe(Subscription::new(&topic)).await;
    let mut kept = subject.collect(&*subject.subscriber, Subscription::new(&topic)).await;
    drop(gone);
    // A publisher may wait for its subscribers: for one that has gone it would do so for ever.
    subject.publish(Message::new(&topic, "1")).await;
    assert_eq!(kept.next().await.body, "1", "others go on");
}

pub(super) async fn a_message_without_subscribers_is_no_failure(subject: &Subject) {
    subject.publish(Message::new(unique("nobody"), "1")).await;
}

pub(super) async fn waiting_for_a_message_may_be_cancelled(subject: &Subject) {
    let topic = unique("cancelled");
    let mut taken = subject.subscribe(worker(&topic)).await;
    let publisher = subject.publisher.clone();
    let all: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let (published, bodies) = (topic.clone(), all.clone());
    let publishing = tokio::spawn(async move {
        for body in bodies {
            publisher.publish(Message::new(&published, body)).await?;
        }
        Ok::<_, crate::Error>(())
    });
    let mut got = Vec::new();
    let deadline = tokio::time::Instant::now() + subject.patience;
    while got.len() < all.len() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "no message is lost when waiting for it is cancelled, but there came {got:?}"
        );
        // Given up after each time it was asked, and then after a moment.
        let patience = if got.len() % 2 == 0 { Duration::ZERO } else { Duration::from_micros(50) };
        if let Ok(next) = timeout(patience, taken.deliveries.next()).await {
            let delivery = next.expect("the subscription lasts").expect("it does not end");
            got.push(text(&delivery.delivered.message).to_owned());
            let settled = delivery.settle(crate::broker::Verdict::Ack).await;
            settled.expect("an acknowledgement is taken");
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(got, all, "no message is lost or moved when waiting for it is cancelled");
    publishing.await.expect("no panic").expect("all are published");
}

type Change = fn(&mut Subscription);

pub(super) async fn what_makes_no_sense_is_refused(subject: &Subject) {
    let publish = |topic: String| subject.publisher.publish(Message::new(topic, ""));
    refused(publish(String::new()).await, "a message without a topic is refused");
    refused(publish("a\nb".into()).await, "a topic with control characters is refused");
    refused(publish("t".repeat(513)).await, "a topic of more than 512 bytes is refused");
    let topic = unique("senseless");
    for id in [String::new(), "a\0".into(), "i".repeat(201)] {
        let mut message = Message::new(&topic, "");
        message.id = Some(id);
        let published = subject.publisher.publish(message).await;
        refused(published, "an id that is not 1 to 200 bytes of text is refused");
    }
    let mut message = Message::new(&topic, "");
    message.priority = 10;
    refused(subject.publisher.publish(message).await, "a priority above 9 is refused");
    let changes: [(&str, Change); 6] = [
        ("no topic", |subscription| subscription.topic = String::new()),
        ("an empty `queue`", |subscription| subscription.queue = Some(String::new())),
        ("`max_in_flight` 0", |subscription| subscription.max_in_flight = 0),
        ("`max_attempts` 0", |subscription| subscription.max_attempts = 0),
        ("`lease` 0", |subscription| subscription.lease = Duration::ZERO),
        ("bad `dead_letters`", |subscription| subscription.dead_letters = Some("a\0".into())),
    ];
    for (what, change) in changes {
        let mut subscription = worker(&topic);
        change(&mut subscription);
        let subscribed = subject.subscriber.subscribe(subscription).await.map(drop);
        refused(subscribed, &format!("a subscription with {what} is refused"));
    }
}

pub(super) async fn what_it_cannot_do_is_refused(subject: &Subject) {
    let can = subject.can();
    let topic = unique("refused");
    let hour = Duration::from_secs(3600);
    let mut keyed = Message::new(&topic, "");
    keyed.key = Some("k".into());
    let mut identified = Message::new(&topic, "");
    identified.id = Some("i".into());
    let mut first = Message::new(&topic, "");
    first.priority = 9;
    for (message, is_able, what) in [
        (Message::new(&topic, "").delay(hour), can.delays, "a delay"),
        (Message::new(&topic, "").expires_in(hour), can.expires, "an expiry"),
        (keyed, can.orders_by_key, "a key"),
        (identified, can.deduplicates, "an id"),
        (first, can.prioritizes, "a priority"),
    ] {
        let published = subject.publisher.publish(message).await;
        match is_able {
            true => {
                published.unwrap_or_else(|error| panic!("it knows {what} of messages: {error}"))
            }
            false => {
                refused(published, &format!("it does not know {what} of messages, and says so"))
            }
        }
    }
    for start in [Start::First, Start::Sequence(1), Start::Time(std::time::SystemTime::now())] {
        let mut replaying = worker(&topic);
        replaying.queue = Some(unique("replaying"));
        replaying.start = start;
        let subscribed = subject.subscriber.subscribe(replaying).await.map(drop);
        match can.replays {
            true => subscribed.unwrap_or_else(|error| panic!("it replays from {start:?}: {error}")),
            false => refused(subscribed, &format!("it cannot replay from {start:?}, and says so")),
        }
    }
    let mut buried = worker(&topic);
    buried.dead_letters = Some(unique("dead"));
    let subscribed = subject.subscriber.subscribe(buried).await.map(drop);
    match can.redelivers {
        true => subscribed.unwrap_or_else(|error| panic!("it has dead letters: {error}")),
        false => refused(subscribed, "it has no dead letters, and says so"),
    }
}
