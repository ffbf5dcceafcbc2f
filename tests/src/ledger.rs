//! A ledger outside of a broker: what was published and acknowledged, what was delivered, and what became of it, while its server is
//! killed, stopped and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use micro::Code;
use micro::broker::{Broker, Message, Start, Subscription, Verdict};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::servers::Server;

/// How often a message may be delivered. High, since what is lost on its way counts.
pub const ATTEMPTS: u32 = 20;
const LEASE: Duration = Duration::from_secs(2);
/// How long publishing may take while there is no server.
const BOUND: Duration = Duration::from_secs(15);
/// How long it may take after the last fault until all is delivered.
const CALM: Duration = Duration::from_secs(90);

#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<u32>,
    refused: usize,
    /// How often each was delivered.
    delivered: BTreeMap<u32, u32>,
    handled: BTreeSet<u32>,
    dead: BTreeMap<u32, u32>,
}

/// These never succeed.
fn is_poison(number: u32) -> bool {
    number % 40 == 7
}

type Shared = Arc<Mutex<Ledger>>;

fn number(message: &Message) -> u32 {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

async fn publish(broker: Arc<dyn Broker>, from: u32, ledger: Shared, ended: Arc<AtomicBool>) {
    let mut next = from;
    while !ended.load(Ordering::Relaxed) {
        let message = Message::new("storm", next.to_string());
        let published = timeout(BOUND, broker.publish(message)).await;
        match published.expect("publishing ends within its bound") {
            Ok(()) => {
                ledger.lock().unwrap().acknowledged.insert(next);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Unavailable, "{error}");
                ledger.lock().unwrap().refused += 1;
            }
        }
        // Each number is published once: one that was refused may be there all the same.
        next += 4;
        sleep(Duration::from_millis(2)).await;
    }
}

async fn consume(broker: Arc<dyn Broker>, subscription: Subscription, ledger: Shared) {
    loop {
        let Ok(mut deliveries) = broker.subscribe(subscription.clone()).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        while let Ok(Some(delivery)) = deliveries.next().await {
            let number = number(&delivery.delivered.message);
            let attempt = delivery.delivered.attempt;
            *ledger.lock().unwrap().delivered.entry(number).or_default() += 1;
            assert!(attempt <= ATTEMPTS, "{number} is delivered for the {attempt}th time");
            let fails = is_poison(number) || (number % 10 == 3 && attempt == 1);
            let verdict = match fails {
                true => Verdict::Retry(Duration::from_millis(10), "not this one".into()),
                false => Verdict::Ack,
            };
            // Whether the server hears it or not: it may have heard it and died before it said so.
            if !fails {
                ledger.lock().unwrap().handled.insert(number);
            }
            let _ = delivery.settle(verdict).await;
        }
    }
}

async fn mourn(broker: Arc<dyn Broker>, ledger: Shared) {
    let mut subscription = Subscription::new("storm.dead");
    subscription.queue = Some("mourners".into());
    subscription.start = Start::First;
    subscription.lease = LEASE;
    loop {
        let Ok(mut deliveries) = broker.subscribe(subscription.clone()).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        while let Ok(Some(delivery)) = deliveries.next().await {
            let message = &delivery.delivered.message;
            assert!(
                message.headers.get("micro-dead-reason").is_some(),
                "a dead letter has a reason"
            );
            let number = number(message);
            *ledger.lock().unwrap().dead.entry(number).or_default() += 1;
            let _ = delivery.settle(Verdict::Ack).await;
        }
    }
}

/// Publishes by four publishers and consumes by three members of a queue, while `fault` befalls the server `times` times. In the
/// end, all that was acknowledged was handled or is a dead letter, and nothing was delivered more often than `most`, which is
/// [`ATTEMPTS`] for a server that never forgets how often that was.
///
/// # Panics
/// When that is not so, with what the ledger says.
pub async fn storm(
    server: &mut Server,
    broker: impl Fn() -> Arc<dyn Broker>,
    times: u32,
    most: u32,
    fault: impl AsyncFn(&mut Server),
) {
    let ledger = Shared::default();
    let ended = Arc::new(AtomicBool::new(false));
    let mut subscription = Subscription::new("storm");
    subscription.queue = Some("workers".into());
    subscription.max_attempts = ATTEMPTS;
    subscription.lease = LEASE;
    // So that the queue is there before its first message.
    drop(broker().subscribe(subscription.clone()).await.unwrap());
    let mut consumers = JoinSet::new();
    for _ in 0..3 {
        consumers.spawn(consume(broker(), subscription.clone(), ledger.clone()));
    }
    consumers.spawn(mourn(broker(), ledger.clone()));
    let mut publishers = JoinSet::new();
    for from in 0..4 {
        publishers.spawn(publish(broker(), from, ledger.clone(), ended.clone()));
    }
    for _ in 0..times {
        let before = ledger.lock().unwrap().acknowledged.len();
        let begun = Instant::now();
        // Faults come under load.
        while ledger.lock().unwrap().acknowledged.len() < before + 100 {
            assert!(begun.elapsed() < CALM, "publishing goes on after a fault");
            sleep(Duration::from_millis(10)).await;
        }
        fault(server).await;
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(published) = publishers.join_next().await {
        published.unwrap();
    }
    let calm = Instant::now();
    loop {
        let missing = {
            let ledger = ledger.lock().unwrap();
            let missing = |number: &&u32| match is_poison(**number) {
                true => !ledger.dead.contains_key(number),
                false => !ledger.handled.contains(number) && !ledger.dead.contains_key(number),
            };
            ledger.acknowledged.iter().filter(missing).copied().collect::<Vec<_>>()
        };
        if missing.is_empty() {
            break;
        }
        while let Some(consumer) = consumers.try_join_next() {
            consumer.unwrap();
        }
        let given = calm.elapsed() < CALM;
        assert!(given, "{} that were acknowledged came to nothing: {missing:?}", missing.len());
        sleep(Duration::from_millis(50)).await;
    }
    while let Some(consumer) = consumers.try_join_next() {
        consumer.unwrap();
    }
    consumers.shutdown().await;
    let ledger = ledger.lock().unwrap();
    let often = ledger.delivered.iter().max_by_key(|(_, times)| **times).unwrap();
    assert!(*often.1 <= most, "{often:?}: more often than the queue allows");
    eprintln!(
        "{} acknowledged, {} refused, {} handled, {} dead letters, at most {} deliveries of one",
        ledger.acknowledged.len(),
        ledger.refused,
        ledger.handled.len(),
        ledger.dead.len(),
        often.1
    );
}
