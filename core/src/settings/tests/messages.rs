//! Documents of messages and of their subscribers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::broker::{Broker as _, Durable, Start, Subscriber, Subscription, Verdict};
use crate::settings::{PublishSettings, SubscriberSettings};
use crate::{Client, Raw, registry};

fn subscription(document: &str) -> Subscription {
    let settings = SubscriberSettings::from_json(document).unwrap();
    settings.apply(Subscriber::raw("orders", |_| async { Ok(()) })).subscription
}

#[test]
fn a_subscriber_is_what_its_document_says() {
    let all = subscription(
        r#"{"queue": "billing", "start": "first", "max_in_flight": 1, "max_attempts": 2, "lease": "10s", "dead_letters": "lost"}"#,
    );
    let mut expected = Subscription::new("orders");
    expected.queue = Some("billing".into());
    expected.start = Start::First;
    expected.max_in_flight = 1;
    expected.max_attempts = 2;
    expected.lease = Duration::from_secs(10);
    expected.dead_letters = Some("lost".into());
    assert_eq!(all, expected);
    assert_eq!(subscription(""), Subscription::new("orders"));
    for (start, expected) in [
        (r#""new""#, Start::New),
        (r#"{"sequence": 7}"#, Start::Sequence(7)),
        (r#"{"time": 1500}"#, Start::Time(UNIX_EPOCH + Duration::from_millis(1500))),
    ] {
        assert_eq!(subscription(&format!(r#"{{"start": {start}}}"#)).start, expected);
    }
    let settings = r#"{"timeout": "2s", "internal": true, "backoff": "none", "request": "Order"}"#;
    let settings = SubscriberSettings::from_json(settings).unwrap();
    let subscriber = settings.apply(Subscriber::raw("orders", |_| async { Ok(()) }));
    assert_eq!(subscriber.timeout, Some(Duration::from_secs(2)));
    assert!(subscriber.internal);
    assert_eq!(subscriber.retry.wait(1), Duration::ZERO);
    assert_eq!(subscriber.record().request.unwrap().name, "Order");
}

#[test]
fn mistakes_say_what_would_do() {
    for (document, hint) in [
        (r#"{"start": "frist"}"#, "did you mean \"first\"?"),
        (r#"{"start": {}}"#, "start: write `sequence` or `time`, and one of them alone"),
        (r#"{"start": {"sequence": 1, "time": 2}}"#, "one of them alone"),
        (r#"{"max_attempts": -1}"#, "max_attempts: -1 is not a whole number"),
        (r#"{"max_attempt": 1}"#, "did you mean `max_attempts`?"),
        (r#"{"timeout": 0}"#, "write at least 1ms"),
    ] {
        let error = SubscriberSettings::from_json(document).unwrap_err();
        assert!(error.detail().contains(hint), "{document}: {error}");
    }
    let error = PublishSettings::from_json(r#"{"expire_in": "1s"}"#).unwrap_err();
    assert!(error.detail().contains("did you mean `expires_in`?"), "{error}");
}

#[tokio::test]
async fn a_message_is_published_on_the_terms_of_its_document() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Arc::new(Durable::new(folder.path()));
    let registry = Arc::new(registry::Memory::new());
    let client = Client::builder().registry(registry).broker(broker.clone()).build().unwrap();
    let mut taken = broker.subscribe(Subscription::new("lobby")).await.unwrap();
    let settings = PublishSettings::from_json(
        r#"{"key": "k", "delay": 1, "expires_in": "1h", "id": "order-7", "priority": 9, "exchange": "lobby"}"#,
    )
    .unwrap();
    let before = SystemTime::now();
    client.publish("orders", Raw::from("7")).settings(&settings).await.unwrap();
    let delivery = taken.next().await.unwrap().unwrap();
    let message = &delivery.delivered.message;
    assert_eq!(message.key.as_deref(), Some("k"));
    assert_eq!(message.headers.get("micro-topic"), Some("orders"));
    assert_eq!((message.id.as_deref(), message.priority), (Some("order-7"), 9));
    assert!(message.due.is_some());
    assert!(message.expires.unwrap() > before + Duration::from_secs(3500));
    delivery.settle(Verdict::Ack).await.unwrap();
}
