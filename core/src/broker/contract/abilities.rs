//! What a broker does if its abilities say so. One function a promise.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::Subject;
use super::steps::{Taken, text, unique, worker};
use crate::broker::{Message, Start, Subscription, Verdict};

pub(super) async fn a_failure_is_delivered_again_after_its_pause(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let topic = unique("again");
    for subscription in [worker(&topic), Subscription::new(&topic)] {
        let mut taken = subject.subscribe(subscription).await;
        subject.publish(Message::new(&topic, "1")).await;
        let first = taken.next().await;
        assert_eq!(first.delivered.attempt, 1, "the first attempt is number 1");
        let wait = Duration::from_millis(400);
        let begun = Instant::now();
        let failed = first.settle(Verdict::Retry(wait, "failed".into())).await;
        failed.expect("a failure is taken");
        let second = taken.next().await;
        assert!(begun.elapsed() >= wait, "a failure is delivered again after its pause");
        assert_eq!(second.delivered.attempt, 2, "attempts are counted");
        assert_eq!(text(&second.delivered.message), "1", "it is the same message");
        second.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
        taken.nothing("what was acknowledged does not come again").await;
        subject.publish(Message::new(&topic, "2")).await;
        assert_eq!(taken.take().await.body, "2", "the next one comes after it");
    }
}

pub(super) async fn what_is_dropped_is_delivered_again(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let topic = unique("given-up");
    let mut taken = subject.subscribe(worker(&topic)).await;
    subject.publish(Message::new(&topic, "1")).await;
    // Given up without a word.
    drop(taken.next().await);
    let again = taken.next().await;
    assert_eq!(text(&again.delivered.message), "1", "a delivery without a verdict comes again");
    assert_eq!(again.delivered.attempt, 2, "attempts are counted");
    // Its consumer goes with it.
    drop(taken);
    drop(again);
    let mut other = subject.subscribe_at(&*subject.publisher, worker(&topic)).await;
    assert_eq!(other.take().await.body, "1", "another member of the queue gets it");
}

async fn dead_letter(dead: &mut Taken, topic: &str, attempts: &str, reason: &str) {
    let message = dead.take().await;
    assert_eq!(message.body, "poison", "a dead letter has the body of its message");
    for (name, value) in [
        ("micro-dead-topic", topic),
        ("micro-dead-queue", "workers"),
        ("micro-dead-attempts", attempts),
        ("micro-dead-reason", reason),
        ("tenant", "blue"),
    ] {
        let got = message.headers.get(name);
        assert_eq!(got, Some(value), "a dead letter says by its header {name} what became of it");
    }
    assert_eq!(message.content_type.as_deref(), Some("text/plain"), "and keeps its content type");
}

fn poison(topic: &str) -> Message {
    let mut message = Message::new(topic, "poison");
    message.content_type = Some("text/plain".into());
    message.headers.insert("tenant", "blue").expect("a header");
    message
}

pub(super) async fn a_message_that_fails_too_often_is_a_dead_letter(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let topic = unique("poison");
    let mut dead = subject.subscribe(worker(&format!("{topic}.dead"))).await;
    let mut subscription = worker(&topic);
    subscription.max_attempts = 3;
    let mut taken = subject.subscribe(subscription).await;
    subject.publish(poison(&topic)).await;
    for attempt in 1..=3 {
        let delivery = taken.next().await;
        assert_eq!(delivery.delivered.attempt, attempt, "attempts are counted");
        let failed = Verdict::Retry(Duration::ZERO, format!("failure {attempt}"));
        delivery.settle(failed).await.expect("a failure is taken");
    }
    dead_letter(&mut dead, &topic, "3", "failure 3").await;
    taken.nothing("a message is not delivered more often than its queue allows").await;
    dead.nothing("a dead letter is written once").await;
}

pub(super) async fn a_rejected_message_is_a_dead_letter_at_once(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let (topic, grave) = (unique("rejected"), unique("grave"));
    let mut dead = subject.subscribe(worker(&grave)).await;
    let mut subscription = worker(&topic);
    subscription.dead_letters = Some(grave);
    let mut taken = subject.subscribe(subscription).await;
    subject.publish(poison(&topic)).await;
    let rejected = taken.next().await.settle(Verdict::Reject("no\r\nuse: ü".into())).await;
    rejected.expect("a rejection is taken");
    let message = dead.take().await;
    let reason = message.headers.get("micro-dead-reason").expect("a reason");
    assert!(!reason.contains(['\r', '\n']) && reason.starts_with("no"), "{reason}");
    assert_eq!(message.headers.get("micro-dead-attempts"), Some("1"));
    taken.nothing("what was rejected does not come again").await;
}

pub(super) async fn no_more_are_in_flight_than_were_asked_for(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let topic = unique("in-flight");
    let mut subscription = worker(&topic);
    subscription.max_in_flight = 2;
    let mut taken = subject.subscribe(subscription.clone()).await;
    for body in ["1", "2", "3", "4"] {
        subject.publish(Message::new(&topic, body)).await;
    }
    let (one, two) = (taken.next().await, taken.next().await);
    taken.nothing("no more messages are in flight than `max_in_flight`").await;
    // What waits is not held back from others.
    let mut idle = subject.subscribe_at(&*subject.publisher, subscription).await;
    assert_eq!(idle.take().await.body, "3", "what a busy member has no room for goes to another");
    assert_eq!(idle.take().await.body, "4", "what a busy member has no room for goes to another");
    for held in [one, two] {
        held.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    }
    idle.nothing("each message goes to one member of a queue").await;
}

pub(super) async fn a_lease_lasts_while_it_is_extended_and_not_longer(subject: &Subject) {
    if !subject.can().redelivers {
        return;
    }
    let topic = unique("lease");
    let mut subscription = worker(&topic);
    subscription.lease = Duration::from_secs(1);
    let mut taken = subject.subscribe(subscription.clone()).await;
    let mut other = subject.subscribe_at(&*subject.publisher, subscription).await;
    subject.publish(Message::new(&topic, "1")).await;
    let held = tokio::select! { one = taken.next() => one, other = other.next() => other };
    let mut next = Box::pin(async {
        tokio::select! { one = taken.next() => one, other = other.next() => other }
    });
    for _ in 0..10 {
        let early = timeout(Duration::from_millis(250), &mut next).await;
        assert!(early.is_err(), "a message is its consumer's while its lease is extended");
        held.extend();
    }
    let begun = Instant::now();
    let again = next.as_mut().await;
    drop(next);
    assert!(begun.elapsed() >= Duration::from_millis(500), "a lease lasts from its last extension");
    assert_eq!(again.delivered.attempt, 2, "a lease that ended is an attempt");
    again.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    // Too late: whatever it says, the message is done.
    let _ = held.settle(Verdict::Retry(Duration::ZERO, "late".into())).await;
    taken.nothing("a verdict after the lease changes nothing").await;
    other.nothing("a verdict after the lease changes nothing").await;
}

pub(super) async fn a_queue_goes_on_where_it_was(subject: &Subject) {
    if !subject.can().persists {
        return;
    }
    let topic = unique("position");
    let mut taken = subject.subscribe(worker(&topic)).await;
    for body in ["1", "2"] {
        subject.publish(Message::new(&topic, body)).await;
    }
    assert_eq!(taken.take().await.body, "1");
    assert_eq!(taken.take().await.body, "2");
    drop(taken);
    for body in ["3", "4"] {
        subject.publish(Message::new(&topic, body)).await;
    }
    let mut taken = subject.subscribe_at(&*subject.publisher, worker(&topic)).await;
    // The member that left may have been sent one of them before its broker knew.
    let mut both =
        [taken.take().await, taken.take().await].map(|message| text(&message).to_owned());
    both.sort_unstable();
    assert_eq!(both, ["3", "4"], "a queue gets what came while it had no members");
    taken.nothing("what was acknowledged does not come again").await;
}

pub(super) async fn older_messages_are_replayed(subject: &Subject) {
    if !subject.can().replays {
        return;
    }
    let topic = unique("replayed");
    for body in ["1", "2", "3"] {
        subject.publish(Message::new(&topic, body)).await;
        // Brokers tell times to the millisecond.
        sleep(Duration::from_millis(5)).await;
    }
    for queue in [None, Some("replaying")] {
        let from = |start| {
            let mut subscription = Subscription::new(&topic);
            subscription.queue = queue.map(unique);
            subscription.start = start;
            subscription
        };
        let mut taken = subject.subscribe(from(Start::First)).await;
        let mut all = Vec::new();
        for body in ["1", "2", "3"] {
            let delivery = taken.next().await;
            assert_eq!(text(&delivery.delivered.message), body, "from the first, in their order");
            let sequence = delivery.delivered.sequence.expect("one that replays tells sequences");
            all.push((sequence, delivery.delivered.published));
            delivery.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
        }
        assert!(all[0].0 < all[1].0 && all[1].0 < all[2].0, "sequences grow: {all:?}");
        for start in [Start::Sequence(all[1].0), Start::Time(all[1].1)] {
            let mut taken = subject.subscribe(from(start)).await;
            assert_eq!(taken.take().await.body, "2", "{start:?} begins with this message");
            assert_eq!(taken.take().await.body, "3", "and goes on with the next");
        }
        let mut taken = subject.subscribe(from(Start::New)).await;
        taken.nothing("one that starts with new messages gets no older ones").await;
    }
}

pub(super) async fn a_delayed_message_is_held_back(subject: &Subject) {
    if !subject.can().delays {
        return;
    }
    let topic = unique("delayed");
    let mut taken = subject.subscribe(worker(&topic)).await;
    let begun = SystemTime::now();
    let wait = Duration::from_millis(700);
    subject.publish(Message::new(&topic, "later").delay(wait)).await;
    subject.publish(Message::new(&topic, "latest").delay(wait * 2)).await;
    subject.publish(Message::new(&topic, "now")).await;
    assert_eq!(taken.take().await.body, "now", "a delayed message holds up no other");
    let later = taken.next().await;
    assert_eq!(text(&later.delivered.message), "later", "the one that is due first comes first");
    assert_eq!(later.delivered.attempt, 1, "a delay is no attempt");
    let waited = begun.elapsed().unwrap_or_default();
    assert!(waited >= wait, "a delayed message is held back, but came after {waited:?}");
    later.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    assert_eq!(taken.take().await.body, "latest");
    taken.nothing("a delayed message comes once").await;
}

pub(super) async fn an_expired_message_is_not_delivered(subject: &Subject) {
    if !subject.can().expires {
        return;
    }
    let topic = unique("expired");
    let mut subscription = worker(&topic);
    subscription.max_in_flight = 1;
    let mut taken = subject.subscribe(subscription).await;
    subject.publish(Message::new(&topic, "first")).await;
    let first = taken.next().await;
    let life = Duration::from_millis(300);
    subject.publish(Message::new(&topic, "stale").expires_in(life)).await;
    subject.publish(Message::new(&topic, "fresh").expires_in(Duration::from_secs(3600))).await;
    sleep(life * 2).await;
    first.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    assert_eq!(taken.take().await.body, "fresh", "what has expired is not delivered");
}

pub(super) async fn messages_of_one_key_keep_their_order(subject: &Subject) {
    if !subject.can().orders_by_key {
        return;
    }
    let topic = unique("keys");
    let mut taken = subject.subscribe(worker(&topic)).await;
    for (body, key) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        let mut message = Message::new(&topic, body);
        message.key = Some(key.into());
        subject.publish(message).await;
    }
    let first = taken.next().await;
    let second = taken.next().await;
    assert_eq!(text(&first.delivered.message), "a1");
    assert_eq!(text(&second.delivered.message), "b1", "one key does not hold up another");
    let failed = first.settle(Verdict::Retry(Duration::from_millis(100), "failed".into())).await;
    failed.expect("a failure is taken");
    let again = taken.next().await;
    assert_eq!(text(&again.delivered.message), "a1", "the next of a key waits, over a failure too");
    again.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    assert_eq!(taken.take().await.body, "a2", "the next of a key follows once it is handled");
}

pub(super) async fn an_id_is_delivered_once(subject: &Subject) {
    if !subject.can().deduplicates {
        return;
    }
    let topic = unique("once");
    let mut taken = subject.subscribe(worker(&topic)).await;
    let with = |topic: &str, body: &str, id: &str| {
        let mut message = Message::new(topic, body.to_owned());
        message.id = Some(id.into());
        message
    };
    for (nth, id) in ["a", "b", "a", "b", "c"].into_iter().enumerate() {
        let broker = if nth % 2 == 0 { &subject.publisher } else { &subject.subscriber };
        let published = timeout(subject.patience, broker.publish(with(&topic, id, id))).await;
        let published = published.expect("publishing ends in time");
        published.unwrap_or_else(|error| panic!("what comes again is taken as well: {error}"));
    }
    let elsewhere = unique("once");
    let mut other = subject.subscribe(worker(&elsewhere)).await;
    subject.publish(with(&elsewhere, "other", "a")).await;
    assert_eq!(other.take().await.body, "other", "an id is one of its topic");
    for id in ["a", "b", "c"] {
        let message = taken.take().await;
        assert_eq!(message.id.as_deref(), Some(id), "an id is delivered, and once");
    }
    taken.nothing("what came again is not delivered").await;
    let both = [with(&topic, "1", "d"), with(&topic, "2", "d")];
    let [one, two] = both.map(|message| subject.publisher.publish(message));
    let (one, two) = timeout(subject.patience, async { tokio::join!(one, two) })
        .await
        .expect("publishing ends in time");
    one.and(two).unwrap_or_else(|error| panic!("two at the same moment are taken: {error}"));
    taken.take().await;
    taken.nothing("of two at the same moment, one is delivered").await;
}

pub(super) async fn the_highest_priority_comes_first(subject: &Subject) {
    if !subject.can().prioritizes {
        return;
    }
    let topic = unique("priorities");
    let mut subscription = worker(&topic);
    subscription.max_in_flight = 1;
    let mut taken = subject.subscribe(subscription).await;
    subject.publish(Message::new(&topic, "held")).await;
    let held = taken.next().await;
    for (body, key, priority) in [
        ("k1", Some("k"), 0),
        ("low", None, 0),
        ("k2", Some("k"), 9),
        ("a", None, 5),
        ("b", None, 5),
    ] {
        let mut message = Message::new(&topic, body);
        message.key = key.filter(|_| subject.can().orders_by_key).map(str::to_owned);
        message.priority = priority;
        subject.publish(message).await;
    }
    held.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
    let mut got = Vec::new();
    for _ in 0..5 {
        let message = taken.take().await;
        let priority = match text(&message) {
            "k2" => 9,
            "a" | "b" => 5,
            _ => 0,
        };
        assert_eq!(message.priority, priority, "a message keeps its priority");
        got.push(text(&message).to_owned());
    }
    match subject.can().orders_by_key {
        true => assert_eq!(
            got,
            ["a", "b", "k1", "k2", "low"],
            "but none before an older one of its key"
        ),
        false => assert_eq!(got, ["k2", "a", "b", "k1", "low"], "the highest comes first"),
    }
}
