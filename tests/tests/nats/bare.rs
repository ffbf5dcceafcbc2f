//! Programs that know NATS and nothing of this framework, and servers that want to know who one is.

use std::fs;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use micro::Code;
use micro::broker::{Broker, Message, Start, Subscription, Verdict};
use micro_nats::{JetStream, Nats};
use micro_tests::ours::PATIENCE;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated};
use serde_json::{Value, json};
use tokio::time::timeout;

async fn answer(client: &async_nats::Client, subject: &str, body: Value) -> Value {
    let answer = client.request(subject.to_owned(), body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

#[test]
fn core_nats_carries_go_micros_envelope_on_plain_subjects_and_reads_by_wildcards() {
    isolated(&[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let bare = async_nats::connect(server.address()).await.unwrap();
        let mut all = bare.subscribe("orders.eu.*").await.unwrap();
        bare.flush().await.unwrap();
        let broker = Nats::new(&server.address()).unwrap();
        let mut any = broker.subscribe(Subscription::new("orders.>")).await.unwrap();
        let mut message = Message::new("orders.eu.paid", "hi");
        message.headers.insert("tenant", "blue").unwrap();
        broker.publish(message).await.unwrap();
        let received = timeout(PATIENCE, all.next()).await.unwrap().unwrap();
        assert_eq!(received.subject.as_str(), "orders.eu.paid");
        let envelope: Value = serde_json::from_slice(&received.payload).unwrap();
        let header = json!({"Tenant": "blue", "Micro-Topic": "orders.eu.paid"});
        assert_eq!(envelope, json!({"Header": header, "Body": "aGk="}));
        // What is no such message is passed over.
        for payload in ["no json", r#"{"Header":{"Tenant":"red"},"Body":"aG8="}"#] {
            bare.publish("orders.us", payload.into()).await.unwrap();
        }
        for (topic, body, tenant) in [("orders.eu.paid", "hi", "blue"), ("orders.us", "ho", "red")]
        {
            let delivery = timeout(PATIENCE, any.next()).await.unwrap().unwrap().unwrap();
            let message = &delivery.delivered.message;
            assert_eq!((message.topic.as_str(), &message.body[..]), (topic, body.as_bytes()));
            assert_eq!(message.headers.get("tenant"), Some(tenant));
        }
    });
}

#[test]
fn jetstream_keeps_plain_messages_on_plain_subjects() {
    isolated(&[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let bare = async_nats::connect(server.address()).await.unwrap();
        let broker = JetStream::new(&server.address()).unwrap();
        let mut message = Message::new("orders", "ours");
        message.headers.insert("tenant", "blue").unwrap();
        message.content_type = Some("text/plain".into());
        message.id = Some("7".into());
        broker.publish(message).await.unwrap();
        let stored =
            answer(&bare, "$JS.API.STREAM.MSG.GET.micro", json!({"last_by_subj": "micro.orders"}));
        let stored = stored.await;
        assert_eq!(stored["message"]["data"], "b3Vycw==", "{stored}");
        // One that does not know of us publishes, with headers or without.
        let mut headers = HeaderMap::new();
        headers.insert("Tenant", "red");
        headers.insert("Nats-Msg-Id", "8");
        bare.publish_with_headers("micro.orders", headers, "theirs".into()).await.unwrap();
        bare.publish("micro.orders", "bare".into()).await.unwrap();
        bare.flush().await.unwrap();
        let mut subscription = Subscription::new("orders");
        subscription.start = Start::First;
        let mut taken = broker.subscribe(subscription).await.unwrap();
        for (body, tenant, id) in [
            ("ours", Some("blue"), Some("7")),
            ("theirs", Some("red"), Some("8")),
            ("bare", None, None),
        ] {
            let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
            let message = &delivery.delivered.message;
            assert_eq!((message.topic.as_str(), &message.body[..]), ("orders", body.as_bytes()));
            assert_eq!((message.headers.get("tenant"), message.id.as_deref()), (tenant, id));
            delivery.settle(Verdict::Ack).await.unwrap();
        }
    });
}

#[test]
fn a_stream_of_ones_own_is_used_as_it_is_and_what_it_lacks_is_told() {
    isolated(&[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let bare = async_nats::connect(server.address()).await.unwrap();
        let broker = JetStream::new(&format!("{}?stream=ORDERS", server.address())).unwrap();
        let error = broker.publish(Message::new("orders.eu", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(error.detail().contains("there is no stream ORDERS: make it"), "{error}");
        let config = json!({"name": "ORDERS", "subjects": ["orders.*"], "max_msg_size": 1000});
        let made = answer(&bare, "$JS.API.STREAM.CREATE.ORDERS", config).await;
        assert!(made.get("error").is_none(), "{made}");
        broker.publish(Message::new("orders.eu", "1")).await.unwrap();
        let error = broker.publish(Message::new("bills", "1")).await.unwrap_err();
        assert!(error.detail().contains("add the subject bills"), "{error}");
        let large = Message::new("orders.eu", vec![0; 2000]);
        let error = broker.publish(large).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.detail().contains("max_msg_size"), "{error}");
        // `orders.eu.dead` is no subject of it.
        let mut subscription = Subscription::new("orders.eu");
        subscription.queue = Some("workers".into());
        let error = broker.subscribe(subscription.clone()).await.map(drop).unwrap_err();
        assert!(error.detail().contains("add the subject orders.eu.dead"), "{error}");
        subscription.dead_letters = Some("orders.grave".into());
        subscription.start = Start::First;
        let mut taken = broker.subscribe(subscription).await.unwrap();
        let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, "1");
        // With wildcards, dead letters must not come back.
        let mut pattern = Subscription::new("orders.*");
        for (dead, hint) in
            [(None, "a topic of their own"), (Some("orders.grave"), "again and again")]
        {
            pattern.dead_letters = dead.map(str::to_owned);
            let error = broker.subscribe(pattern.clone()).await.map(drop).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.detail().contains(hint), "{error}");
        }
    });
}

#[test]
fn a_server_without_jetstream_is_told_apart() {
    isolated(&[Need::Nats], || async {
        let server = Server::bare_nats(&[]).await;
        let broker = JetStream::new(&server.address()).unwrap();
        let error = broker.publish(Message::new("orders", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(error.detail().contains("nats-server -js"), "{error}");
    });
}

#[test]
fn a_server_is_told_who_one_is() {
    isolated(&[Need::Nats], || async {
        let server = Server::nats(&["--user", "me", "--pass", "p@ss:word"]).await;
        let address = server.address();
        for (who, is_known) in [("me:p%40ss%3Aword@", true), ("me:wrong@", false), ("", false)] {
            for broker in [
                Box::new(Nats::new(&format!("{who}{address}")).unwrap()) as Box<dyn Broker>,
                Box::new(JetStream::new(&format!("{who}{address}")).unwrap()),
            ] {
                let published = broker.publish(Message::new("orders", "1")).await;
                match is_known {
                    true => published.unwrap(),
                    false => {
                        let error = published.unwrap_err();
                        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
                        assert!(error.detail().contains("before the host"), "{error}");
                        assert!(!error.to_string().contains("wrong"), "{error}");
                    }
                }
            }
        }
        let token = Server::nats(&["--auth", "t0ken"]).await;
        let broker = Nats::new(&format!("t0ken@{}", token.address())).unwrap();
        broker.publish(Message::new("orders", "1")).await.unwrap();
    });
}

#[test]
fn a_server_is_reached_by_tls_and_trusted_by_its_authority_alone() {
    isolated(&[Need::Nats], || async {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let made =
            rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let server = Server::nats(&["--tls", "--tlscert", &cert, "--tlskey", &key]).await;
        let trusting = Nats::new(&format!("{}?ca={cert}", server.address())).unwrap();
        let mut taken = trusting.subscribe(Subscription::new("orders")).await.unwrap();
        trusting.publish(Message::new("orders", "1")).await.unwrap();
        let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, "1");
        let stranger = Nats::new(&format!("{}?tls=true", server.address())).unwrap();
        let published =
            timeout(Duration::from_secs(10), stranger.publish(Message::new("orders", "1")));
        let error = published.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}
