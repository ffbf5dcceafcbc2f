//! The broker as its publishers and subscribers see it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::broker::Verdict;
use crate::broker::contract::Subject;
use crate::registry::Memory;

fn broker(registry: &Arc<dyn Registry>) -> Http {
    let broker = Http::new();
    broker.meet(registry);
    broker
}

crate::broker_contract!(|| {
    let registry: Arc<dyn Registry> = Arc::new(Memory::new());
    let mut subject = Subject::new(broker(&registry), broker(&registry));
    subject.repeats_headers = false;
    subject
});

#[tokio::test]
async fn a_message_waits_for_a_subscriber_that_cannot_be_reached_and_no_more_than_64_do() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::new());
    let (publisher, subscriber) = (broker(&registry), broker(&registry));
    let mut gone = Service::new(SERVICE, "workers");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let labels = [("broker", "http"), ("secure", "false"), ("topic", "orders")];
    gone.nodes.push(Node {
        id: "orders-gone".into(),
        address: closed.to_string(),
        metadata: labels.map(|(name, value)| (name.into(), value.into())).into(),
    });
    registry.register(&gone, None).await.unwrap();
    for number in 0..INBOX {
        publisher.publish(Message::new("orders", number.to_string())).await.unwrap();
    }
    let error = publisher.publish(Message::new("orders", "one more")).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    let mut subscription = Subscription::new("orders");
    subscription.queue = Some("workers".into());
    subscription.max_in_flight = INBOX;
    let mut taken = subscriber.subscribe(subscription).await.unwrap();
    registry.deregister(&gone).await.unwrap();
    for number in 0..INBOX {
        let next = tokio::time::timeout(Duration::from_secs(20), taken.next()).await;
        let delivery = next.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, number.to_string());
        delivery.settle(Verdict::Ack).await.unwrap();
    }
}

#[tokio::test]
async fn a_plain_http_server_reads_what_a_cloud_event_says_of_itself() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let registry: Arc<dyn Registry> = Arc::new(Memory::new());
    let publisher = broker(&registry);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = Service::new(SERVICE, BROADCAST);
    let labels = [("broker", "http"), ("secure", "false"), ("topic", "orders")];
    plain.nodes.push(Node {
        id: "orders-plain".into(),
        address: listener.local_addr().unwrap().to_string(),
        metadata: labels.map(|(name, value)| (name.into(), value.into())).into(),
    });
    registry.register(&plain, None).await.unwrap();
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let mut message = Message::new("orders", "7");
    let event = crate::broker::CloudEvent::new("/shop", "placed");
    message.headers = event.write("7-placed").unwrap();
    message.headers.insert("tenant", "blue").unwrap();
    publisher.publish(message).await.unwrap();
    let request = tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    for line in ["ce-specversion: 1.0", "ce-id: 7-placed", "ce-source: /shop", "ce-type: placed"] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    assert!(!head.contains("tenant"), "{head}");
    // Its data is go-micro's envelope, which has all of it once more.
    let envelope: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&envelope["Header"]["Ce-Type"], &envelope["Body"]),
        (&"placed".into(), &"Nw==".into())
    );
}

/// A subscriber of its own that answers as many messages of each connection as are said, and counts its connections.
async fn plain(
    registry: &Arc<dyn Registry>,
    messages: usize,
) -> (Arc<AtomicUsize>, AbortOnDropHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut record = Service::new(SERVICE, BROADCAST);
    let labels = [("broker", "http"), ("secure", "false"), ("topic", "orders")];
    record.nodes.push(Node {
        id: "orders-plain".into(),
        address: listener.local_addr().unwrap().to_string(),
        metadata: labels.map(|(name, value)| (name.into(), value.into())).into(),
    });
    registry.register(&record, None).await.unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            for _ in 0..messages {
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    (connections, AbortOnDropHandle::new(serving))
}

async fn publish_ten(publisher: &Http) {
    for number in 0..10 {
        publisher.publish(Message::new("orders", number.to_string())).await.unwrap();
        assert!(publisher.shared.inboxes().is_empty(), "message {number} was not delivered");
    }
}

#[tokio::test]
async fn a_subscriber_gets_one_message_after_the_other_through_one_connection() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::new());
    let (connections, _serving) = plain(&registry, usize::MAX).await;
    publish_ten(&broker(&registry)).await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_its_subscriber_has_closed_costs_no_message() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::new());
    let (connections, _serving) = plain(&registry, 1).await;
    let publisher = broker(&registry);
    for number in 0..10 {
        publisher.publish(Message::new("orders", number.to_string())).await.unwrap();
        // It is closed after each answer; the publisher learns of it in its own time, or when it writes.
        while !publisher.shared.inboxes().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    assert!(connections.load(Ordering::Relaxed) >= 10);
}

#[tokio::test]
async fn without_a_registry_it_says_so() {
    let error = Http::new().publish(Message::new("a", "")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

#[test]
fn a_url_says_where_messages_are_taken() {
    for (rest, listen) in [
        ("", "127.0.0.1:0"),
        ("0.0.0.0:9000", "0.0.0.0:9000"),
        ("10.0.0.1", "10.0.0.1:0"),
        ("[::1]:80/", "[::1]:80"),
    ] {
        assert_eq!(Http::from_url_path(rest).unwrap().shared.listen, listen);
    }
    assert!(Http::from_url_path("host:1/path").is_err());
}
