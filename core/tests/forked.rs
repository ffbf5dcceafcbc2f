//! What a child of a fork has of its parent's broker. One test, as a process forks once: what a fork does to the library is done
//! here without one.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]
#![cfg(unix)]

use std::time::Duration;

use micro::Code;
use micro::broker::{Broker, Durable, Message, Subscription};
use tokio::time::timeout;

#[tokio::test]
async fn a_durable_broker_of_the_parent_fails_at_once_and_a_new_one_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let parents = Durable::new(folder.path());
    let untouched = Durable::new(folder.path());
    parents.publish(Message::new("orders", "1")).await.expect("published");
    let held = parents.subscribe(Subscription::new("orders")).await.expect("subscribes");
    micro::fork::in_child();
    let at_once = Duration::from_secs(2);
    for failed in [
        timeout(at_once, parents.publish(Message::new("orders", "2"))).await.expect("at once"),
        timeout(at_once, parents.subscribe(Subscription::new("orders")))
            .await
            .expect("at once")
            .map(drop),
        timeout(at_once, parents.close()).await.expect("at once"),
    ] {
        let error = failed.expect_err("it is the parent's");
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.detail().contains("make it anew in the child"), "{error}");
    }
    // What was opened in the parent is not closed here either: its files are the parent's.
    drop((held, parents));
    // The parent, which is this process after all, still serves: one that was not used before the fork is the child's own.
    for broker in [untouched, Durable::new(folder.path())] {
        let published = timeout(at_once, broker.publish(Message::new("orders", "3"))).await;
        published.expect("in time").expect("published");
    }
}
