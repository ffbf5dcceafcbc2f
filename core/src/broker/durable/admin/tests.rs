//! What is seen of a broker at work, and what can be put right in it.

use std::time::Duration;

use tokio::time::timeout;

use super::{Admin, Letters};
use crate::broker::durable::Durable;
use crate::broker::{Broker as _, Deliveries, Delivery, Message, Start, Subscription, Verdict};
use crate::error::Code;

const SOON: Duration = Duration::from_secs(20);

/// The owner of a folder, and another that reaches it through the socket.
async fn pair() -> (tempfile::TempDir, Durable, Durable) {
    let folder = tempfile::tempdir().unwrap();
    let (owner, other) = (Durable::new(folder.path()), Durable::new(folder.path()));
    owner.publish(Message::new("aside", "so that it owns the folder")).await.unwrap();
    (folder, owner, other)
}

fn queue(topic: &str, queue: &str) -> Subscription {
    let mut subscription = Subscription::new(topic);
    subscription.queue = Some(queue.into());
    subscription.start = Start::First;
    subscription.max_attempts = 2;
    subscription
}

async fn publish(broker: &Durable, topic: &str, bodies: &[&str]) {
    for body in bodies {
        broker.publish(Message::new(topic, (*body).to_owned())).await.unwrap();
    }
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    let delivery = timeout(SOON, deliveries.next()).await.expect("a message in time");
    delivery.unwrap().expect("the broker goes on")
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.delivered.message.body.to_vec()).unwrap()
}

async fn take(deliveries: &mut Box<dyn Deliveries>) -> String {
    let delivery = next(deliveries).await;
    let body = body(&delivery);
    delivery.settle(Verdict::Ack).await.unwrap();
    body
}

/// Subscribes and takes until a message says that there is no more.
async fn take_all(broker: &Durable, subscription: Subscription) -> Vec<String> {
    let topic = subscription.topic.clone();
    let mut taken = broker.subscribe(subscription).await.unwrap();
    publish(broker, &topic, &["end"]).await;
    let mut bodies = Vec::new();
    loop {
        match take(&mut taken).await {
            body if body == "end" => return bodies,
            body => bodies.push(body),
        }
    }
}

/// Makes dead letters of these messages.
async fn kill(broker: &Durable, topic: &str, queue: &str, bodies: &[&str]) {
    publish(broker, topic, bodies).await;
    let mut taken = broker.subscribe(self::queue(topic, queue)).await.unwrap();
    for _ in bodies {
        let delivery = next(&mut taken).await;
        delivery.settle(Verdict::Reject("no stock: größer".into())).await.unwrap();
    }
}

async fn retry(admin: &Admin, letters: &Letters) -> u64 {
    let (mut done, mut from) = (0, Some(0));
    while let Some(next) = from {
        let batch = admin.retry(letters, next).await.unwrap();
        done += batch.done;
        from = batch.next;
    }
    done
}

#[tokio::test]
async fn a_topic_says_how_far_its_queues_are_and_who_has_what() {
    let (_folder, owner, other) = pair().await;
    publish(&owner, "orders", &["1", "2", "3", "4"]).await;
    let mut taken = other.subscribe(queue("orders", "billing")).await.unwrap();
    let first = next(&mut taken).await;
    let second = next(&mut taken).await;
    second.settle(Verdict::Retry(Duration::from_secs(3600), "later".into())).await.unwrap();
    next(&mut taken).await.settle(Verdict::Reject("never".into())).await.unwrap();
    next(&mut taken).await.settle(Verdict::Ack).await.unwrap();
    drop(owner.subscribe(queue("orders", "archive")).await.unwrap());
    for admin in [owner.admin(), other.admin()] {
        let topic = admin.topic("orders").await.unwrap();
        assert_eq!((topic.messages, topic.dead_letters), (4, 1));
        assert!((4 * 20..400).contains(&topic.bytes), "{}", topic.bytes);
        let (from, to) = (topic.first.unwrap(), topic.last.unwrap());
        assert!(from.sequence < to.sequence && from.time <= to.time);
        let [archive, billing] = &topic.queues[..] else { panic!("{topic:?}") };
        assert_eq!((&*archive.name, archive.lag, archive.consumers), ("archive", 4, 0));
        assert_eq!(archive.oldest.as_ref().unwrap().sequence, from.sequence);
        assert_eq!(
            (&*billing.name, billing.lag, billing.held, billing.waiting),
            ("billing", 2, 1, 1)
        );
        let oldest = billing.oldest.as_ref().unwrap();
        assert_eq!((oldest.sequence, oldest.time, oldest.attempts), (from.sequence, from.time, 1));
        let holder = format!("consumer 1 of process {}", std::process::id());
        assert_eq!(oldest.holder.as_deref(), Some(&*holder));
    }
    drop(first);
    let missing = owner.admin().topic("order").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn topics_come_in_pages_and_without_what_the_broker_notes_for_itself() {
    let (_folder, owner, other) = pair().await;
    for number in 0..5 {
        publish(&owner, &format!("t{number}"), &["x"]).await;
    }
    drop(owner.subscribe(queue("t1", "q")).await.unwrap());
    let admin = other.admin();
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = admin.topics(after.as_deref(), 2).await.unwrap();
        assert!(page.topics.len() <= 2);
        names.extend(page.topics.into_iter().map(|topic| topic.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["aside", "t0", "t1", "t2", "t3", "t4"]);
    for wrong in [0, 1001] {
        assert_eq!(admin.topics(None, wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_queue_goes_on_elsewhere_and_verdicts_from_before_do_not_count() {
    let (_folder, owner, other) = pair().await;
    publish(&owner, "orders", &["1", "2", "3"]).await;
    let mut taken = other.subscribe(queue("orders", "billing")).await.unwrap();
    let held = next(&mut taken).await;
    assert_eq!((take(&mut taken).await, take(&mut taken).await), ("2".into(), "3".into()));
    let sequence = held.delivered.sequence.unwrap();
    other.admin().replay("orders", "billing", Start::First).await.unwrap();
    // Its consumers come again, as they do whenever a subscription ends.
    assert!(timeout(SOON, taken.next()).await.unwrap().is_err());
    let mut again = other.subscribe(queue("orders", "billing")).await.unwrap();
    let first = next(&mut again).await;
    assert_eq!((body(&first), first.delivered.attempt), ("1".into(), 1));
    // The verdict of one that had it before is not taken for that of the one that has it now.
    assert!(held.settle(Verdict::Ack).await.is_err());
    let billing = &owner.admin().topic("orders").await.unwrap().queues[0];
    assert_eq!(billing.oldest.as_ref().unwrap().sequence, sequence);
    first.settle(Verdict::Ack).await.unwrap();
    assert_eq!((take(&mut again).await, take(&mut again).await), ("2".into(), "3".into()));
    drop(again);
    // The same of a queue that is not at work.
    owner.admin().replay("orders", "billing", Start::Sequence(sequence + 1)).await.unwrap();
    let mut again = owner.subscribe(queue("orders", "billing")).await.unwrap();
    assert_eq!(take(&mut again).await, "2");
    let missing = owner.admin().replay("orders", "biling", Start::First).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn a_dead_letter_goes_back_to_the_queue_that_gave_it_up_and_to_no_other() {
    let (folder, owner, other) = pair().await;
    kill(&owner, "orders", "größe 1", &["1", "2"]).await;
    assert_eq!(take_all(&owner, queue("orders", "archive")).await, ["1", "2"]);
    let admin = other.admin();
    let letters = Letters::of("orders");
    let page = admin.dead_letters(&letters, 0, 1).await.unwrap();
    let letter = &page.letters[0];
    assert_eq!((letter.queue.as_deref(), letter.attempts), (Some("größe 1"), 1));
    assert_eq!((&*letter.reason, letter.bytes), ("no stock: größer", 1));
    let rest = admin.dead_letters(&letters, page.next.unwrap(), 10).await.unwrap();
    assert_eq!((rest.letters.len(), rest.next), (1, None));
    assert_eq!(retry(&admin, &letters.clone().queue("another")).await, 0);
    assert_eq!(retry(&admin, &letters.clone().sequence(letter.sequence)).await, 1);
    assert_eq!(retry(&admin, &letters).await, 1);
    assert_eq!(retry(&admin, &letters).await, 0, "they are letters no more");
    let mut taken = owner.subscribe(queue("orders", "größe 1")).await.unwrap();
    // What another queue published as its end is in between.
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let delivery = next(&mut taken).await;
        let message = &delivery.delivered.message;
        assert!(message.headers.get("micro-dead-reason").is_none());
        if body(&delivery) != "end" {
            bodies.push(body(&delivery));
        }
        delivery.settle(Verdict::Ack).await.unwrap();
    }
    assert_eq!(bodies, ["1", "2"]);
    drop(taken);
    assert_eq!(take_all(&owner, queue("orders", "archive")).await, [""; 0]);
    // It stays so for the next owner.
    owner.close().await.unwrap();
    let after = Durable::new(folder.path());
    assert_eq!(take_all(&after, queue("orders.dead", "people")).await, [""; 0]);
    assert_eq!(after.admin().topic("orders").await.unwrap().dead_letters, 1, "only the end");
}

#[tokio::test]
async fn what_is_dropped_is_delivered_to_none_and_stays_dropped() {
    let (folder, owner, other) = pair().await;
    publish(&owner, "orders", &["1", "2", "3"]).await;
    kill(&owner, "returns", "desk", &["a", "b", "c"]).await;
    let admin = other.admin();
    // Read ahead by a consumer that has no place for them yet.
    let mut subscription = queue("orders", "billing");
    subscription.max_in_flight = 1;
    let mut taken = owner.subscribe(subscription.clone()).await.unwrap();
    let held = next(&mut taken).await;
    let last = held.delivered.sequence.unwrap() + 1;
    assert_eq!(admin.drop_messages("orders", last).await.unwrap(), 2);
    assert_eq!(admin.drop_messages("orders", last).await.unwrap(), 0);
    held.settle(Verdict::Ack).await.unwrap();
    assert_eq!(take(&mut taken).await, "3");
    drop(taken);
    let letters = Letters::of("returns");
    let all = admin.dead_letters(&letters, 0, 10).await.unwrap().letters;
    let one = letters.clone().sequence(all[1].sequence);
    assert_eq!(admin.drop_letters(&one, 0).await.unwrap().done, 1);
    admin.drop_queue("orders", "billing").await.unwrap();
    assert_eq!(admin.drop_queue("orders", "billing").await.unwrap_err().code(), Code::NotFound);
    owner.close().await.unwrap();

    let after = Durable::new(folder.path());
    let orders = after.admin().topic("orders").await.unwrap();
    assert_eq!((orders.messages, orders.queues.len()), (1, 0));
    // A queue that was dropped begins where its subscription says.
    assert_eq!(take_all(&after, subscription).await, ["3"]);
    let left = after.admin().dead_letters(&letters, 0, 10).await.unwrap().letters;
    let left: Vec<_> = left.into_iter().map(|letter| letter.sequence).collect();
    assert_eq!(left, [all[0].sequence, all[2].sequence]);
    assert_eq!(after.admin().drop_letters(&letters, 0).await.unwrap().done, 2);
    assert_eq!(after.admin().topic("returns").await.unwrap().dead_letters, 0);
}
