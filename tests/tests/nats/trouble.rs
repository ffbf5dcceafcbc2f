//! Servers that are killed, stopped and started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::broker::{Broker, Message, Subscriber, Subscription, Verdict};
use micro::{Code, Context, Json};
use micro_nats::{JetStream, Nats};
use micro_tests::ledger::{ATTEMPTS, storm};
use micro_tests::ours::{self, PATIENCE};
use micro_tests::servers::Server;
use micro_tests::{Need, isolated, isolated_for};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(300);

fn jetstream(address: &str) -> impl Fn() -> Arc<dyn Broker> + use<> {
    let address = address.to_owned();
    move || Arc::new(JetStream::new(&address).unwrap())
}

#[test]
fn jetstream_loses_nothing_it_acknowledged_while_its_server_is_killed_under_load() {
    isolated_for(LIMIT, &[Need::Nats], || async {
        let mut server = Server::nats(&[]).await;
        let broker = jetstream(&server.address());
        // It writes down now and then how often messages were delivered, and forgets the rest when it is killed.
        storm(&mut server, broker, 5, 6 * ATTEMPTS, async |server| {
            server.kill();
            sleep(Duration::from_millis(300)).await;
            server.start().await;
        })
        .await;
    });
}

#[test]
fn jetstream_loses_nothing_it_acknowledged_while_its_server_stands_still_under_load() {
    isolated_for(LIMIT, &[Need::Nats], || async {
        let mut server = Server::nats(&[]).await;
        let broker = jetstream(&server.address());
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
    isolated_for(LIMIT, &[Need::Nats], || async {
        let mut server = Server::nats(&[]).await;
        let core: Arc<dyn Broker> = Arc::new(Nats::new(&server.address()).unwrap());
        let kept = jetstream(&server.address())();
        for broker in [&core, &kept] {
            broker.publish(Message::new("orders", "before")).await.unwrap();
        }
        // Subscriptions outlive the server.
        let mut subscribed = Vec::new();
        for broker in [&core, &kept] {
            subscribed.push(broker.subscribe(Subscription::new("orders")).await.unwrap());
        }
        server.kill();
        for broker in [&core, &kept] {
            let begun = Instant::now();
            // What breaks at this moment may be noticed with the next message.
            let error = loop {
                if let Err(error) = broker.publish(Message::new("orders", "lost")).await {
                    break error;
                }
            };
            assert_eq!(error.code(), Code::Unavailable, "{error}");
            assert!(error.detail().contains(&server.address()), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        }
        server.start().await;
        for (broker, deliveries) in [&core, &kept].into_iter().zip(&mut subscribed) {
            let again = async {
                loop {
                    // Core NATS keeps nothing for a subscriber that is not back yet.
                    let published = broker.publish(Message::new("orders", "after")).await;
                    let next = timeout(Duration::from_millis(200), deliveries.next()).await;
                    if let (Ok(()), Ok(Ok(Some(delivery)))) = (published, next)
                        && delivery.delivered.message.body == "after"
                    {
                        delivery.settle(Verdict::Ack).await.unwrap();
                        return;
                    }
                }
            };
            timeout(PATIENCE * 3, again).await.expect("a subscription goes on");
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_named_and_a_stop_waits_for_nothing() {
    isolated(&[], || async {
        for broker in [
            Arc::new(Nats::new("127.0.0.1:9").unwrap()) as Arc<dyn Broker>,
            Arc::new(JetStream::new("127.0.0.1:9").unwrap()),
        ] {
            let error = broker.publish(Message::new("orders", "")).await.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable, "{error}");
            assert!(error.detail().contains("127.0.0.1:9 cannot be reached"), "{error}");
            let handler = |_: Context, _: Json<u64>| async { Ok(()) };
            let service = ours::serve_with("waiting", |builder| {
                builder.broker(broker).subscriber(Subscriber::new("orders", handler))
            });
            let service = service.await;
            timeout(PATIENCE, service.stop()).await.expect("a service ends without its broker");
        }
    });
}

#[test]
fn a_service_that_stops_handles_what_core_nats_has_sent_it_already() {
    isolated(&[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        let (seen, mut handled) = mpsc::unbounded_channel();
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (beginning, going) = (began.clone(), go_on.clone());
        let handler = move |_: Context, Json(number): Json<u64>| {
            let (seen, beginning, going) = (seen.clone(), beginning.clone(), going.clone());
            async move {
                beginning.notify_one();
                if number == 0 {
                    going.notified().await;
                }
                seen.send(number).map_err(micro::Error::unexpected)
            }
        };
        let address = server.address();
        let service = ours::serve_with("slow", |builder| {
            let broker = Arc::new(Nats::new(&address).unwrap());
            builder.broker(broker).subscriber(Subscriber::new("orders", handler).max_in_flight(1))
        });
        let service = service.await;
        let publisher = Nats::new(&address).unwrap();
        let mut watching = publisher.subscribe(Subscription::new("orders")).await.unwrap();
        for number in 0..20_u64 {
            publisher.publish(Message::new("orders", number.to_string())).await.unwrap();
        }
        // Once the last has come here, the server has sent it to the service too.
        for _ in 0..20 {
            timeout(PATIENCE, watching.next()).await.unwrap().unwrap().unwrap();
        }
        timeout(PATIENCE, began.notified()).await.unwrap();
        let stopping = tokio::spawn(service.stop());
        go_on.notify_one();
        stopping.await.unwrap();
        let mut all = Vec::new();
        while let Ok(number) = handled.try_recv() {
            all.push(number);
        }
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    });
}
