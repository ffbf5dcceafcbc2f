//! Programs that know Redis and nothing of this framework, and what the server says of its own.

use std::fs;
use std::time::Duration;

use micro::Code;
use micro::broker::{Broker, Message, Start, Subscription, Verdict};
use micro_redis::Redis;
use micro_tests::ours::PATIENCE;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::time::timeout;

async fn bare(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn broker(server: &Server, options: &str) -> Redis {
    Redis::new("redis", &format!("{}{options}", server.address())).unwrap()
}

#[test]
fn a_topic_is_a_stream_that_any_client_writes_and_reads() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let mut bare = bare(&server).await;
        let ours = broker(&server, "");
        let mut message = Message::new("orders", "ours");
        message.headers.insert("tenant", "blue").unwrap();
        message.content_type = Some("text/plain".into());
        ours.publish(message).await.unwrap();
        let mut range = cmd("XRANGE");
        range.arg("orders").arg("-").arg("+");
        let entries: Vec<(String, Vec<String>)> = range.query_async(&mut bare).await.unwrap();
        let fields = ["body", "ours", "content-type", "text/plain", "tenant", "blue"];
        assert_eq!(entries[0].1, fields);
        let mut add = cmd("XADD");
        add.arg(&["orders", "*", "tenant", "red", "body", "theirs"]);
        let id: String = add.query_async(&mut bare).await.unwrap();
        let mut subscription = Subscription::new("orders");
        subscription.queue = Some("workers".into());
        subscription.start = Start::First;
        let mut taken = ours.subscribe(subscription).await.unwrap();
        for (body, tenant) in [("ours", "blue"), ("theirs", "red")] {
            let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
            let message = &delivery.delivered.message;
            assert_eq!(message.body, body);
            assert_eq!(message.headers.get("tenant"), Some(tenant));
            delivery.settle(Verdict::Ack).await.unwrap();
        }
        // Other clients share the queue.
        let mut pending = cmd("XPENDING");
        pending.arg("orders").arg("workers");
        let (held, ..): (u64, redis::Value, redis::Value, redis::Value) =
            pending.query_async(&mut bare).await.unwrap();
        assert_eq!(held, 0, "{id} is acknowledged");
    });
}

#[test]
fn what_another_client_took_and_let_lie_comes_to_a_member_of_the_queue() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let mut bare = bare(&server).await;
        let ours = broker(&server, "");
        let mut subscription = Subscription::new("orders");
        subscription.queue = Some("workers".into());
        subscription.lease = Duration::from_millis(500);
        drop(ours.subscribe(subscription.clone()).await.unwrap());
        ours.publish(Message::new("orders", "1")).await.unwrap();
        let mut read = cmd("XREADGROUP");
        read.arg(&[
            "GROUP", "workers", "stranger", "COUNT", "1", "BLOCK", "5000", "STREAMS", "orders", ">",
        ]);
        let taken: redis::Value = read.query_async(&mut bare).await.unwrap();
        assert_ne!(taken, redis::Value::Nil, "the stranger has it");
        let mut taken = ours.subscribe(subscription).await.unwrap();
        let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, "1");
        assert_eq!(delivery.delivered.attempt, 2);
    });
}

#[test]
fn old_messages_are_removed_but_none_that_a_queue_has_not_handled() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let mut bare = bare(&server).await;
        let ours = broker(&server, "?max_age=1ms&max_len=2");
        let mut queues = Vec::new();
        for queue in ["fast", "slow"] {
            let mut subscription = Subscription::new("orders");
            subscription.queue = Some(queue.into());
            queues.push(ours.subscribe(subscription).await.unwrap());
        }
        for number in 0..10 {
            ours.publish(Message::new("orders", number.to_string())).await.unwrap();
        }
        let mut held = Vec::new();
        for number in 0..10 {
            let [fast, slow] = &mut queues[..] else { panic!("two queues") };
            let delivery = timeout(PATIENCE, fast.next()).await.unwrap().unwrap().unwrap();
            delivery.settle(Verdict::Ack).await.unwrap();
            let delivery = timeout(PATIENCE, slow.next()).await.unwrap().unwrap().unwrap();
            match number < 4 {
                true => delivery.settle(Verdict::Ack).await.unwrap(),
                false => held.push(delivery),
            }
        }
        ours.tidy().await.unwrap();
        let length = async |bare: &mut MultiplexedConnection| -> u64 {
            cmd("XLEN").arg("orders").query_async(bare).await.unwrap()
        };
        assert_eq!(length(&mut bare).await, 6, "what the slow one holds is kept");
        for delivery in held {
            delivery.settle(Verdict::Ack).await.unwrap();
        }
        ours.tidy().await.unwrap();
        assert_eq!(length(&mut bare).await, 1, "the last that was delivered stays");
    });
}

#[test]
fn what_the_server_refuses_says_what_to_do() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&["--requirepass", "p@ss:word"]).await;
        let known = broker_as(&server, ":p%40ss%3Aword@");
        known.publish(Message::new("orders", "1")).await.unwrap();
        for who in ["", ":wrong@"] {
            let error =
                broker_as(&server, who).publish(Message::new("orders", "1")).await.unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{error}");
            assert!(error.detail().contains("before the host"), "{error}");
            assert!(!error.to_string().contains("wrong@"), "{error}");
        }
        let server = Server::redis(&[]).await;
        let mut bare = bare(&server).await;
        cmd("SET").arg("taken").arg("1").query_async::<()>(&mut bare).await.unwrap();
        let ours = broker(&server, "");
        let error = ours.publish(Message::new("taken", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(error.detail().contains("`prefix`"), "{error}");
        broker(&server, "?prefix=shop:").publish(Message::new("taken", "1")).await.unwrap();
        let mut limit = cmd("CONFIG");
        limit.arg(&["SET", "maxmemory", "1"]);
        limit.query_async::<()>(&mut bare).await.unwrap();
        let error = ours.publish(Message::new("orders", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        let there = Redis::new("redis", "127.0.0.1:9").unwrap();
        let error = there.publish(Message::new("orders", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.detail().contains("redis://127.0.0.1:9 cannot be reached"), "{error}");
    });
}

fn broker_as(server: &Server, who: &str) -> Redis {
    Redis::new("redis", &format!("{who}{}", server.address())).unwrap()
}

#[test]
fn a_server_is_reached_by_tls_and_trusted_by_its_authority_alone() {
    isolated(&[Need::Redis], || async {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let made =
            rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
        let server =
            Server::redis_by_tls(&[&tls[..], &["--tls-auth-clients", "no"]].concat()).await;
        let trusting = Redis::new("rediss", &format!("{}?ca={cert}", server.address())).unwrap();
        let mut taken = trusting.subscribe(Subscription::new("orders")).await.unwrap();
        trusting.publish(Message::new("orders", "1")).await.unwrap();
        let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, "1");
        let stranger = Redis::new("rediss", &server.address()).unwrap();
        let error = stranger.publish(Message::new("orders", "1")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}
