//! A store in one process, between two, over the end of its owner and over power cuts.

mod power;

use std::time::Duration;

use bytes::Bytes;

use super::File;
use crate::broker::{Broker as _, Durable, Message, Start, Subscription, Verdict};
use crate::error::Code;
use crate::store::contract::Subject;
use crate::store::{Batch, Change, Condition, Fence, Place, Store as _, Watch};

/// In the process that owns the folder.
mod owner {
    use super::*;

    crate::store_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = File::new(folder.path());
        Subject::new(store.clone(), store).keeping(folder)
    });
}

/// Between one that owns the folder and one that does not.
mod other {
    use super::*;

    crate::store_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (File::new(folder.path()), File::new(folder.path()));
        Subject::new(first, second).keeping(folder)
    });
}

fn write(key: &str, value: &str) -> Change {
    Change::write(Place::default(), key, value.to_owned())
}

async fn text(store: &File, key: &str) -> Option<String> {
    let record = store.read(&Place::default(), key).await.unwrap()?;
    Some(String::from_utf8(record.value.to_vec()).unwrap())
}

#[tokio::test]
async fn records_survive_their_owner_and_versions_only_grow() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (File::new(folder.path()), File::new(folder.path()));
    let one = first.apply(write("a", "1").into()).await.unwrap()[0];
    let two = second.apply(write("b", "2").into()).await.unwrap()[0];
    assert!(two > one);
    let fenced = |token, value| Batch {
        changes: vec![write("a", value)],
        fences: vec![Fence { lock: "leader".into(), token }],
        ..Batch::default()
    };
    let three = second.apply(fenced(7, "3")).await.unwrap()[0];
    second.apply(write("brief", "1").expires_in(Duration::from_secs(3)).into()).await.unwrap();
    first.close().await.unwrap();
    // The next owner has all of it.
    assert_eq!(text(&second, "a").await.as_deref(), Some("3"));
    let stale = second.apply(fenced(6, "late")).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition, "{stale}");
    let change = write("b", "4").only_if(Condition::Version(two));
    let four = second.apply(change.into()).await.unwrap()[0];
    assert!(four > three);
    let watch = Watch { place: Place::default(), prefix: "b".into(), after: Some(one) };
    let mut changes = second.watch(watch).await.unwrap();
    for (key, version) in [("b", two), ("brief", 0), ("b", four), ("brief", 0)] {
        let event = changes.next().await.unwrap().unwrap();
        assert_eq!(event.key, key);
        assert!(version == 0 || version == event.version, "{event:?}");
    }
    assert_eq!(text(&second, "brief").await, None);
    drop(changes);
    second.close().await.unwrap();
    let third = File::new(folder.path());
    assert_eq!(text(&third, "b").await.as_deref(), Some("4"));
    assert!(third.apply(write("b", "5").into()).await.unwrap()[0] > four);
}

#[tokio::test]
async fn messages_and_records_share_a_folder_whoever_owns_it() {
    for owner_is_broker in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (broker, store) = (Durable::new(folder.path()), File::new(folder.path()));
        let mut subscription = Subscription::new("orders");
        subscription.queue = Some("billing".into());
        subscription.start = Start::First;
        if owner_is_broker {
            broker.publish(Message::new("orders", "1")).await.unwrap();
        }
        let before = store.apply(write("a", "1").into()).await.unwrap()[0];
        broker.publish(Message::new("orders", "2")).await.unwrap();
        // One order through both.
        let after = store.apply(write("a", "2").into()).await.unwrap()[0];
        assert!(after > before + 1, "{after} is the number behind that of a message");
        let mut taken = broker.subscribe(subscription.clone()).await.unwrap();
        let delivery = taken.next().await.unwrap().unwrap();
        delivery.settle(Verdict::Ack).await.unwrap();
        drop(taken);
        let (ends, stays) = (broker.close().await, text(&store, "a").await);
        ends.unwrap();
        assert_eq!(stays.as_deref(), Some("2"));
        store.close().await.unwrap();
        let broker = Durable::new(folder.path());
        broker.publish(Message::new("orders", "3")).await.unwrap();
        let store = File::new(folder.path());
        assert_eq!(text(&store, "a").await.as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn a_folder_of_messages_alone_has_no_table_file() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Durable::new(folder.path());
    broker.publish(Message::new("orders", "1")).await.unwrap();
    broker.close().await.unwrap();
    let table = folder.path().join("records.redb");
    assert!(!table.exists());
    let store = File::new(folder.path());
    assert_eq!(text(&store, "a").await, None);
    assert!(table.exists());
    // What is no table file is not opened, and not written over either.
    store.close().await.unwrap();
    std::fs::write(&table, Bytes::from(vec![7; 100_000])).unwrap();
    let error = File::new(folder.path()).read(&Place::default(), "a").await.unwrap_err();
    assert!(error.detail().contains("records.redb"), "{error}");
    assert!(std::fs::read(&table).unwrap() == vec![7; 100_000], "it was written to");
}

#[test]
fn a_url_names_a_folder() {
    assert!(File::from_url_path("/var/lib/shop").is_ok());
    for (url, hint) in
        [("shop", "file:///shop"), ("./a/b", "file:///a/b"), ("/a?x=1", "no options")]
    {
        let error = File::from_url_path(url).unwrap_err();
        assert!(error.detail().contains(hint), "{url}: {error}");
    }
}
