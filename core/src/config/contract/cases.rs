//! The cases.

use std::sync::Arc;
use std::task::Poll;

use serde_json::json;
use tokio::time::timeout;

use super::Subject;
use crate::config::builder::ConfigBuilder;
use crate::config::handle::Config;
use crate::config::source::Changes;

impl Subject {
    async fn within<T>(&self, what: impl Future<Output = T>) -> T {
        timeout(self.patience, what).await.expect("a change is told in time")
    }

    /// A configuration of it alone.
    fn alone(&self) -> ConfigBuilder {
        Config::builder().source(Arc::clone(&self.source))
    }

    async fn watch(&self) -> Box<dyn Changes> {
        self.source.watch().await.expect("it is watched").expect("it changes")
    }
}

pub(super) async fn a_source_says_the_same_until_it_changes(subject: Subject) {
    (subject.change)(json!({"a": {"b": 1}, "c": ["d"]}));
    let first = subject.source.read().await.expect("a document");
    assert_eq!(first, subject.source.read().await.expect("a document"));
    (subject.change)(json!({"a": {"b": 22}, "c": ["d"]}));
    assert_ne!(first, subject.source.read().await.expect("a document"));
}

pub(super) async fn every_value_names_its_source(subject: Subject) {
    (subject.change)(json!({"a": {"b": 1}, "c": ["d"]}));
    let config = subject.alone().load().await.expect("it is loaded");
    for path in ["a", "a.b", "c", "c.0"] {
        let value = config.get(path);
        let origin = value.origin().expect("an origin");
        assert_eq!(origin.source(), subject.source.name(), "{path}");
    }
}

pub(super) async fn a_change_after_the_watch_began_is_told(subject: Subject) {
    (subject.change)(json!({"n": 0}));
    let mut changes = subject.watch().await;
    for n in [1, 22, 333] {
        (subject.change)(json!({"n": n}));
        // It may tell of changes where there are none, but not only of those.
        subject.within(changes.changed()).await.expect("the watch goes on");
    }
}

pub(super) async fn a_wait_that_is_given_up_loses_nothing(subject: Subject) {
    (subject.change)(json!({"n": 0}));
    let mut changes = subject.watch().await;
    {
        let mut waiting = changes.changed();
        std::future::poll_fn(|context| {
            let _ = waiting.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }
    (subject.change)(json!({"n": 4_444}));
    subject.within(changes.changed()).await.expect("the watch goes on");
}

pub(super) async fn a_change_reaches_the_configuration(subject: Subject) {
    (subject.change)(json!({"n": 0}));
    let config = subject.alone().load().await.expect("it is loaded");
    let mut watch = config.watch("n");
    for n in [1, 22, 333] {
        (subject.change)(json!({"n": n}));
        let value = subject.within(watch.next()).await.expect("a value");
        assert_eq!(value.int().expect("a number"), n);
    }
}
