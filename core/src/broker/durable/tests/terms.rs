//! Ids and priorities of messages.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::mpsc;

use super::*;
use crate::broker::durable::wire::{Done, Frame, PUBLISHING, Taken};
use crate::codec::Proto;
use crate::context::Context;
use crate::data::{Folder, GREET, OWNER, Socket};
use crate::error::Result;
use crate::server::{Endpoint, Server};
use crate::streaming::Streaming;

fn message(body: &str, id: &str) -> Message {
    let mut message = Message::new("orders", body.to_owned());
    message.id = Some(id.to_owned());
    message
}

/// All messages of `orders` in the order in which they come, up to one that is published now.
async fn all(engine: &Engine) -> Vec<String> {
    let last = uuid::Uuid::new_v4().to_string();
    engine.publish(&Message::new("orders", last.clone())).await.unwrap();
    let mut subscription = Subscription::new("orders");
    subscription.start = Start::First;
    subscription.max_in_flight = 1;
    let mut taken: Box<dyn Deliveries> = Box::new(engine.subscribe(subscription).await.unwrap());
    let mut bodies = Vec::new();
    loop {
        match take(&mut taken).await {
            body if body == last => return bodies,
            body => bodies.push(body),
        }
    }
}

#[tokio::test]
async fn a_message_is_published_once_whichever_process_it_is_sent_to() {
    let (_folder, first, second) = pair();
    first.publish(message("1", "a")).await.unwrap();
    second.publish(message("2", "a")).await.unwrap();
    first.close().await.unwrap();
    second.publish(message("3", "a")).await.unwrap();
    second.publish(message("4", "b")).await.unwrap();
    let mut other = message("elsewhere", "a");
    other.topic = "elsewhere".into();
    second.publish(other).await.unwrap();
    let mut taken = second.subscribe(queue("orders", "billing")).await.unwrap();
    let one = next(&mut taken).await;
    assert_eq!((body(&one), one.delivered.message.id.as_deref()), ("1".into(), Some("a")));
    assert_eq!(take(&mut taken).await, "4");
    let mut taken = second.subscribe(queue("elsewhere", "billing")).await.unwrap();
    assert_eq!(take(&mut taken).await, "elsewhere");
}

#[tokio::test]
async fn of_many_that_publish_one_id_at_the_same_moment_one_is_written_and_all_are_told() {
    let disk = Forgetful::default();
    let engine = open(&disk, Settings::default());
    let messages: Vec<_> = (0..50).map(|n| message(&n.to_string(), "a")).collect();
    let told = join_all(messages.iter().map(|message| engine.publish(message))).await;
    assert!(told.iter().all(Result::is_ok));
    assert_eq!(all(&engine).await.len(), 1);
}

#[tokio::test]
async fn a_publisher_that_is_cancelled_does_not_keep_its_id_from_the_next() {
    let disk = Forgetful::default();
    let engine = open(&disk, Settings::default());
    for number in 0..20 {
        let message = message(&number.to_string(), &number.to_string());
        {
            let publishing = engine.publish(&message);
            // Polled until it has submitted the message, and then let go.
            let mut publishing = std::pin::pin!(publishing);
            for _ in 0..number % 4 {
                if futures_util::poll!(&mut publishing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        timeout(SOON, engine.publish(&message)).await.expect("told in time").unwrap();
    }
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(all(&engine).await, expected);
}

#[tokio::test]
async fn a_message_that_was_not_written_is_no_duplicate_of_itself() {
    let disk = Forgetful::default();
    let engine = open(&disk, Settings::default());
    engine.publish(&message("1", "a")).await.unwrap();
    disk.fail_sync(0);
    // The second waits for the first, and writes it when that has failed.
    let both = [message("2", "b"), message("2", "b")];
    let told = join_all(both.iter().map(|message| engine.publish(message))).await;
    assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
    engine.publish(&message("2", "b")).await.unwrap();
    assert_eq!(all(&engine).await, ["1", "2"]);
}

#[tokio::test]
async fn ids_are_forgotten_after_their_time_and_not_with_messages_that_are_removed() {
    let disk = Forgetful::default();
    let settings = Settings { segment_bytes: 4096, ..Settings::default() };
    let engine = open(&disk, settings);
    engine.publish(&message("1", "a")).await.unwrap();
    for number in 0..200 {
        engine.publish(&Message::new("often", format!("{number:0100}"))).await.unwrap();
    }
    let retention =
        Retention { bytes: 8192, age: Duration::from_secs(3600), compacted: Arc::default() };
    assert!(engine.tidy(&retention).await.unwrap() > 8192);
    engine.close().await.unwrap();
    let engine = open(&disk, settings);
    engine.publish(&message("2", "a")).await.unwrap();
    assert_eq!(all(&engine).await, [""; 0], "an id went with its message");
    engine.close().await.unwrap();
    let short = Duration::from_millis(50);
    let opened = Engine::open(Arc::new(disk.clone()), None, settings, Level::Synced, short);
    let engine = opened.unwrap().0;
    engine.publish(&message("3", "b")).await.unwrap();
    let begun = tokio::time::Instant::now();
    loop {
        engine.publish(&message("4", "b")).await.unwrap();
        let found = all(&engine).await;
        if found.contains(&"4".to_owned()) {
            break;
        }
        assert!(begun.elapsed() < SOON, "an id is never forgotten: {found:?}");
    }
    assert!(begun.elapsed() >= short / 2);
}

#[tokio::test]
async fn one_with_an_id_is_sent_again_where_the_answer_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let owned = Folder::open(&path).unwrap().try_own().unwrap();
    let files = Arc::new(crate::data::Files::new(&path));
    let dedup = Duration::from_secs(120);
    let opened = Engine::open(files, owned, Settings::default(), Level::Synced, dedup);
    let engine = Arc::new(opened.unwrap().0);
    // An owner that dies after it has written, and before it says so.
    let (written, mut is_written) = mpsc::unbounded_channel();
    let writing = engine.clone();
    let publishing = move |_: Context, mut frames: Streaming<Proto<Frame>>| {
        let (engine, written) = (writing.clone(), written.clone());
        let begun = stream::once(async { Ok(Proto(Taken::default())) });
        let silent = stream::once(async move {
            while let Some(Proto(frame)) = frames.message().await? {
                for publish in frame.messages {
                    engine.publish(&publish.message()?).await?;
                    let _ = written.send(());
                }
            }
            std::future::pending::<Result<Proto<Taken>>>().await
        });
        async { Ok(begun.chain(silent)) }
    };
    let publish = Endpoint::bidi_stream(PUBLISHING, publishing);
    let server = Server::builder("micro.data")
        .network(Arc::new(Socket::within(&path).unwrap()))
        .address(OWNER)
        .handle(Endpoint::unary(GREET, |_: Context, Proto(Done {}): Proto<Done>| async {
            Ok(Proto(Done {}))
        }))
        .handle(publish)
        .start()
        .await
        .unwrap();
    let broker = Durable::new(&path);
    let sending = [message("1", "a"), Message::new("orders", "2")].map(|message| {
        let broker = broker.clone();
        tokio::spawn(async move { broker.publish(message).await })
    });
    for _ in 0..2 {
        timeout(SOON, is_written.recv()).await.unwrap().unwrap();
    }
    drop(server);
    engine.close().await.unwrap();
    drop(engine);
    let [with, without] = sending;
    with.await.unwrap().unwrap();
    assert_eq!(without.await.unwrap().unwrap_err().code(), Code::Unavailable);
    let mut taken = broker.subscribe(queue("orders", "billing")).await.unwrap();
    publish_end(&broker).await;
    let mut bodies = [take(&mut taken).await, take(&mut taken).await];
    bodies.sort_unstable();
    assert_eq!(bodies, ["1", "2"]);
    assert_eq!(take(&mut taken).await, "the end");
}

async fn publish_end(broker: &Durable) {
    publish(broker, "orders", "the end").await;
}

#[tokio::test]
async fn of_messages_that_wait_the_highest_priority_is_delivered_first() {
    let disk = Forgetful::default();
    let settings = Settings { segment_bytes: 16_384, ..Settings::default() };
    let engine = open(&disk, settings);
    for number in 0..100 {
        let mut message = Message::new("orders", format!("{number}"));
        message.priority = [0, 5, 9][number % 3];
        // 2 and 5 are of one key, and 3 comes between them, with less.
        message.key = (number == 2 || number == 3 || number == 5).then(|| "k".to_owned());
        engine.publish(&message).await.unwrap();
    }
    let mut expected: Vec<usize> = (0..100).collect();
    expected.sort_by_key(|number| std::cmp::Reverse([0, 5, 9][number % 3]));
    // Behind 3, which is of the lowest and the second of those.
    expected.retain(|number| *number != 5);
    let behind = expected.iter().position(|number| *number == 3).unwrap();
    expected.insert(behind + 1, 5);
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(all(&engine).await, expected);
    // Also in the next life, when those messages are gone that said of the topic that it has priorities.
    let retention =
        Retention { bytes: 1, age: Duration::from_secs(3600), compacted: Arc::default() };
    for number in 0..200 {
        engine.publish(&Message::new("often", format!("{number:0100}"))).await.unwrap();
    }
    engine.tidy(&retention).await.unwrap();
    engine.close().await.unwrap();
    let engine = open(&disk, settings);
    for number in 0..50 {
        engine.publish(&Message::new("orders", format!("{number}"))).await.unwrap();
    }
    let mut urgent = Message::new("orders", "urgent");
    urgent.priority = 1;
    engine.publish(&urgent).await.unwrap();
    assert_eq!(all(&engine).await[0], "urgent");
}

#[tokio::test]
async fn a_topic_gets_priorities_while_it_is_subscribed_to() {
    let (_folder, owner, other) = pair();
    publish(&owner, "orders", "0").await;
    let mut subscription = queue("orders", "billing");
    subscription.max_in_flight = 1;
    let mut taken = other.subscribe(subscription).await.unwrap();
    let first = next(&mut taken).await;
    for number in 1..40 {
        let mut message = Message::new("orders", format!("{number}"));
        message.priority = u8::from(number == 39);
        other.publish(message).await.unwrap();
    }
    first.settle(Verdict::Ack).await.unwrap();
    assert_eq!(take(&mut taken).await, "39");
    assert_eq!(take(&mut taken).await, "1");
}
