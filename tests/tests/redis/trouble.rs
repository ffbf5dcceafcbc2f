//! Servers that are killed, stopped and started again, and several processes at the same work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::Code;
use micro::broker::{Broker, Message, Subscription, Verdict};
use micro_redis::Redis;
use micro_tests::ledger::{ATTEMPTS, storm};
use micro_tests::ours::PATIENCE;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated, isolated_for};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(300);

fn redis(address: &str) -> impl Fn() -> Arc<dyn Broker> + use<> {
    let address = address.to_owned();
    move || Arc::new(Redis::new("redis", &address).unwrap())
}

fn workers(topic: &str) -> Subscription {
    let mut subscription = Subscription::new(topic);
    subscription.queue = Some("workers".into());
    subscription
}

#[test]
fn redis_loses_nothing_it_acknowledged_while_it_is_killed_under_load() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let mut server = Server::redis(&[]).await;
        let broker = redis(&server.address());
        storm(&mut server, broker, 5, ATTEMPTS, async |server| {
            server.kill();
            sleep(Duration::from_millis(300)).await;
            server.start().await;
        })
        .await;
    });
}

#[test]
fn redis_loses_nothing_it_acknowledged_while_it_stands_still_under_load() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let mut server = Server::redis(&[]).await;
        let broker = redis(&server.address());
        storm(&mut server, broker, 3, ATTEMPTS, async |server| {
            server.signal("STOP");
            sleep(Duration::from_secs(3)).await;
            server.signal("CONT");
        })
        .await;
    });
}

#[test]
fn without_a_server_publishing_fails_in_time_and_works_again_once_it_is_back() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let mut server = Server::redis(&[]).await;
        let broker = redis(&server.address())();
        let mut all = broker.subscribe(Subscription::new("orders")).await.unwrap();
        let mut queue = broker.subscribe(workers("orders")).await.unwrap();
        broker.publish(Message::new("orders", "before")).await.unwrap();
        for deliveries in [&mut all, &mut queue] {
            let delivery = timeout(PATIENCE, deliveries.next()).await.unwrap().unwrap().unwrap();
            delivery.settle(Verdict::Ack).await.unwrap();
        }
        server.kill();
        let begun = Instant::now();
        let error = broker.publish(Message::new("orders", "lost")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.detail().contains(&server.address()), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        server.start().await;
        broker.publish(Message::new("orders", "after")).await.unwrap();
        for deliveries in [&mut all, &mut queue] {
            let delivery = timeout(PATIENCE, deliveries.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(delivery.delivered.message.body, "after");
            delivery.settle(Verdict::Ack).await.unwrap();
        }
        // One that stands still is no better than none.
        server.signal("STOP");
        let begun = Instant::now();
        let error = broker.publish(Message::new("orders", "lost")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        server.signal("CONT");
    });
}

#[test]
fn a_queue_that_its_server_has_lost_goes_on_with_what_there_is() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let broker = redis(&server.address())();
        let mut taken = broker.subscribe(workers("orders")).await.unwrap();
        let client = redis::Client::open(format!("redis://{}", server.address())).unwrap();
        let mut bare = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHALL").query_async::<()>(&mut bare).await.unwrap();
        broker.publish(Message::new("orders", "1")).await.unwrap();
        let delivery = timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, "1");
    });
}

#[test]
fn each_delayed_message_comes_once_whatever_number_of_processes_looks_for_it() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let broker = redis(&server.address());
        // Each has an upkeep of its own.
        let brokers: Vec<_> = (0..5).map(|_| broker()).collect();
        let mut taken = Vec::new();
        for broker in &brokers {
            taken.push(broker.subscribe(Subscription::new("later")).await.unwrap());
        }
        for number in 0..200_u64 {
            let message = Message::new("later", number.to_string());
            let message = message.delay(Duration::from_millis(300 + number));
            brokers[number as usize % 5].publish(message).await.unwrap();
        }
        for deliveries in &mut taken {
            for number in 0..200_u64 {
                let next = timeout(PATIENCE, deliveries.next()).await;
                let delivery = next.unwrap().unwrap().unwrap();
                let body = std::str::from_utf8(&delivery.delivered.message.body).unwrap();
                assert_eq!(body.parse(), Ok(number), "in the order in which they are due");
                delivery.settle(Verdict::Ack).await.unwrap();
            }
            let more = timeout(Duration::from_millis(300), deliveries.next()).await;
            assert!(more.is_err(), "a delayed message comes once: {more:?}");
        }
    });
}
