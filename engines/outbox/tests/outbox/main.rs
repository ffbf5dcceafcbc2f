//! Messages of a transaction: published if it is committed, whoever dies, in order, and never otherwise.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(all(unix, feature = "postgres", feature = "sqlite"))]

mod crash;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use micro::broker::{
    Abilities, Broker, Deliveries, Durable, Message, Start, Subscription, Verdict,
};
use micro::{Code, Error, Result};
use micro_outbox::{Relay, Status, postgres, sqlite};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use micro_tests::postgres::Server;
use server::config;

const SOON: Duration = Duration::from_secs(30);

/// Messages of a topic, from the first.
pub(crate) async fn received(broker: &dyn Broker) -> Box<dyn Deliveries> {
    let mut subscription = Subscription::new("orders");
    subscription.start = Start::First;
    subscription.max_in_flight = 100;
    broker.subscribe(subscription).await.expect("subscribed")
}

pub(crate) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Message {
    let delivery = timeout(SOON, deliveries.next()).await.expect("in time").expect("no error");
    let delivery = delivery.expect("one");
    let message = delivery.delivered.message.clone();
    delivery.settle(Verdict::Ack).await.expect("settled");
    message
}

async fn text(deliveries: &mut Box<dyn Deliveries>) -> String {
    String::from_utf8(next(deliveries).await.body.to_vec()).expect("text")
}

async fn status(relay: &Relay, is_it: impl Fn(&Status) -> bool) -> Status {
    let wait = async {
        while !is_it(&relay.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{:?}", relay.status()));
    relay.status()
}

struct Shop {
    folder: TempDir,
    outbox: sqlite::Outbox,
    database: Connection,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = sqlite::Outbox::new("outbox").expect("a name").max_attempts(4);
        let mut database = Connection::open(folder.path().join("shop.db")).expect("a database");
        outbox.migrate(&mut database).expect("tables");
        Self { folder, outbox, database }
    }

    fn publish(&mut self, messages: &[Message]) {
        let transaction = self.database.transaction().expect("a transaction");
        for message in messages {
            self.outbox.publish(&transaction, message).expect("a row");
        }
        transaction.commit().expect("committed");
    }

    fn relay(&self, broker: Arc<dyn Broker>) -> Relay {
        Relay::sqlite(self.folder.path().join("shop.db"), self.outbox.clone(), broker)
    }

    fn rows(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        self.database.query_row(&count, [], |row| row.get(0)).expect("a number")
    }
}

fn order(key: &str, body: &str) -> Message {
    let mut message = Message::new("orders", body.to_owned());
    message.key = Some(key.into());
    message
}

/// A broker with moods.
#[derive(Debug)]
struct Moody {
    broker: Durable,
    /// How often a message with the body `bad` still fails.
    failures: AtomicU32,
}

#[async_trait]
impl Broker for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn abilities(&self) -> Abilities {
        self.broker.abilities()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        let less = |left: u32| left.checked_sub(1);
        let fails = || self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
        if message.body == "bad" && fails() {
            return Err(Error::new(Code::ResourceExhausted, "not today"));
        }
        assert_ne!(message.body, "bug", "a bug of the broker");
        self.broker.publish(message).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        self.broker.subscribe(subscription).await
    }
}

#[tokio::test]
async fn what_is_committed_is_published_and_removed_and_what_is_rolled_back_never_was() {
    let mut shop = Shop::new();
    let broker = Arc::new(Durable::new(shop.folder.path().join("data")));
    let mut received = received(&*broker).await;
    let relay = shop.relay(broker);
    shop.publish(&[order("a", "1")]);
    let transaction = shop.database.transaction().expect("a transaction");
    shop.outbox.publish(&transaction, &order("a", "never")).expect("a row");
    transaction.rollback().expect("rolled back");
    let mut second = order("a", "2");
    second.headers.append("tenant", "blue").expect("a header");
    shop.publish(&[second, order("a", "3")]);
    assert_eq!(text(&mut received).await, "1");
    let second = next(&mut received).await;
    assert_eq!((&second.body[..], second.headers.get("tenant")), (&b"2"[..], Some("blue")));
    assert!(second.id.is_some_and(|id| id.ends_with(".2") || id.ends_with(".3")));
    assert_eq!(text(&mut received).await, "3");
    let status = status(&relay, |status| status.published == 3).await;
    assert_eq!((status.is_active, status.dead, status.error), (true, 0, None));
    relay.stop().await;
    assert_eq!((shop.rows("outbox"), shop.rows("outbox_dead")), (0, 0));
}

#[tokio::test]
async fn a_message_that_no_broker_takes_is_a_dead_letter_and_others_go_on() {
    let mut shop = Shop::new();
    let broker = Arc::new(Durable::new(shop.folder.path().join("data")));
    let mut received = received(&*broker).await;
    let relay = shop.relay(broker);
    shop.publish(&[order("a", "1"), Message::new("", "no topic"), order("a", "2")]);
    assert_eq!(text(&mut received).await, "1");
    assert_eq!(text(&mut received).await, "2");
    status(&relay, |status| (status.published, status.dead) == (2, 1)).await;
    relay.stop().await;
    let (body, error): (Vec<u8>, String) = shop
        .database
        .query_row("SELECT body, error FROM outbox_dead", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a dead letter");
    assert_eq!(body, b"no topic");
    assert!(error.contains("topic \"\""), "{error}");
    assert_eq!(shop.rows("outbox"), 0);
}

#[tokio::test]
async fn a_failure_holds_back_its_key_alone_until_it_succeeds_or_is_given_up() {
    for (failures, published, dead) in [(3, 4, 0), (u32::MAX, 3, 1)] {
        let mut shop = Shop::new();
        let durable = Durable::new(shop.folder.path().join("data"));
        let failures = AtomicU32::new(failures);
        let broker = Arc::new(Moody { broker: durable, failures });
        let mut received = received(&*broker).await;
        let relay = shop.relay(broker);
        shop.publish(&[order("a", "bad"), order("a", "behind"), order("b", "beside")]);
        assert_eq!(text(&mut received).await, "beside");
        // Others go on, so that it is its own fault.
        let mut others = 0;
        let mut bodies = Vec::new();
        while bodies.last().is_none_or(|last| last != "behind") {
            shop.publish(&[order("b", "other")]);
            others += 1;
            let first = text(&mut received).await;
            bodies.extend((first != "other").then_some(first));
            let since = Instant::now();
            while bodies.len() < 2 && since.elapsed() < Duration::from_millis(100) {
                let more = timeout(Duration::from_millis(100), text(&mut received)).await;
                bodies.extend(more.ok().filter(|body| body != "other"));
            }
        }
        let status = status(&relay, |status| {
            (status.published, status.dead) == (published + others - 1, dead)
        });
        status.await;
        let expected: &[&str] = if dead == 0 { &["bad", "behind"] } else { &["behind"] };
        assert_eq!(bodies, expected);
        relay.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_panics_or_is_away_ends_no_relay() {
    let mut shop = Shop::new();
    let durable = Durable::new(shop.folder.path().join("data"));
    let broker = Arc::new(Moody { broker: durable, failures: AtomicU32::new(0) });
    let mut received = received(&*broker).await;
    let relay = shop.relay(broker);
    shop.publish(&[order("a", "bug"), order("b", "1")]);
    assert_eq!(text(&mut received).await, "1");
    assert!(status(&relay, |status| status.published == 1).await.is_active);
    relay.stop().await;
    let error: String = shop
        .database
        .query_row("SELECT error FROM outbox", [], |row| row.get(0))
        .expect("the row that waits");
    assert!(error.contains("the broker panicked"), "{error}");
}

#[tokio::test]
async fn of_two_relays_one_works_and_the_other_goes_on() {
    let mut shop = Shop::new();
    let broker = Arc::new(Durable::new(shop.folder.path().join("data")));
    let mut received = received(&*broker).await;
    let first = shop.relay(broker.clone());
    status(&first, |status| status.is_active).await;
    let second = shop.relay(broker.clone());
    shop.publish(&[order("a", "1")]);
    assert_eq!(text(&mut received).await, "1");
    assert!(!second.status().is_active);
    first.stop().await;
    assert!(!first.status().is_active);
    status(&second, |status| status.is_active).await;
    // One that ends without a word is waited for until its lease is over.
    let third = shop.relay(broker);
    drop(second);
    shop.publish(&[order("a", "2")]);
    assert_eq!(text(&mut received).await, "2");
    status(&third, |status| status.published == 1).await;
    third.stop().await;
}

#[tokio::test]
async fn tables_of_a_newer_program_are_refused() {
    let mut shop = Shop::new();
    shop.database.execute("UPDATE outbox_schema SET version = 2", []).expect("a newer one");
    let error = shop.outbox.migrate(&mut shop.database).expect_err("newer");
    assert_eq!(error.code(), Code::FailedPrecondition);
    let relay = shop.relay(Arc::new(Durable::new(shop.folder.path().join("data"))));
    let status = status(&relay, |status| status.error.is_some()).await;
    assert!(status.error.is_some_and(|error| error.contains("newer micro-outbox")));
}

#[tokio::test]
async fn postgres_wakes_its_relay_and_keeps_what_it_cannot_publish() {
    let name = "postgres_wakes_its_relay_and_keeps_what_it_cannot_publish";
    let Some(mut server) = Server::start(name).await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Arc::new(Durable::new(folder.path()));
    let mut received = received(&*broker).await;
    let outbox = postgres::Outbox::new("public.outbox").expect("a name");
    let start = || Relay::postgres(config(server.folder()), NoTls, outbox.clone(), broker.clone());
    let (relay, waiting) = (start(), start());
    let connect = async |config: tokio_postgres::Config| {
        let (client, connection) = config.connect(NoTls).await.expect("connected");
        tokio::spawn(connection);
        client
    };
    let mut client = connect(config(server.folder())).await;
    outbox.migrate(&mut client).await.expect("tables");
    let publish = async |client: &mut tokio_postgres::Client, messages: &[Message]| {
        let transaction = client.transaction().await.expect("a transaction");
        for message in messages {
            outbox.publish(&transaction, message).await.expect("a row");
        }
        transaction.commit().await.expect("committed");
    };
    let is_one = || relay.status().is_active != waiting.status().is_active;
    let wait = async {
        while !is_one() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.expect("one works");
    // Far less than the time after which it would look by itself.
    let begun = Instant::now();
    for number in 0..20 {
        publish(&mut client, &[order("a", &number.to_string())]).await;
        assert_eq!(text(&mut received).await, number.to_string());
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "it was not woken");
    publish(&mut client, &[Message::new("", "no topic"), order("a", "more")]).await;
    assert_eq!(text(&mut received).await, "more");
    let wait = async {
        while relay.status().dead + waiting.status().dead == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.expect("a dead letter");
    let rows = client.query("SELECT body, error FROM outbox_dead", &[]).await.expect("rows");
    assert_eq!(rows.len(), 1);
    assert!(rows[0].get::<_, String>(1).contains("topic \"\""));
    // The server dies, and what was committed is published once it is back.
    publish(&mut client, &[order("a", "before")]).await;
    server.kill();
    server.serve().await;
    let mut client = connect(config(server.folder())).await;
    publish(&mut client, &[order("a", "after")]).await;
    assert_eq!(text(&mut received).await, "before");
    assert_eq!(text(&mut received).await, "after");
    client.execute("UPDATE outbox_schema SET version = 2", &[]).await.expect("a newer one");
    let error = outbox.migrate(&mut client).await.expect_err("newer");
    assert_eq!(error.code(), Code::FailedPrecondition);
    relay.stop().await;
    waiting.stop().await;
}
