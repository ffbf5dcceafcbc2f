//! What a ledger outside says after hundreds of power cuts.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What a ledger outside knows.
#[derive(Default)]
struct Ledger {
    published: BTreeSet<String>,
    attempts: BTreeMap<String, u32>,
    /// Acknowledged by a consumer; a power cut may have it forgotten.
    acked: BTreeSet<String>,
    /// Whether it was published, its publisher was not told.
    in_doubt: Option<String>,
    /// How often such a one was published again.
    again: u32,
}

#[test]
fn nothing_published_is_lost_or_delivered_too_often_in_hundreds_of_power_cuts() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let settings = Settings { segment_bytes: 8192, ..Settings::default() };
    let (mut redelivered, mut again) = (0, 0);
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Forgetful::default();
        let mut ledger = Ledger::default();
        for cut in 0..15 {
            let engine = open(&disk, settings);
            runtime.block_on(life(&engine, &disk, &mut ledger, &mut random, cut));
            runtime.block_on(async {
                let _ = engine.close().await;
            });
            disk.cut_power(seed * 100 + cut);
            disk.switch_on();
        }
        let engine = open(&disk, settings);
        runtime.block_on(async {
            let mut taken: Box<dyn Deliveries> =
                Box::new(engine.subscribe(subscription()).await.unwrap());
            let missing = |ledger: &Ledger| {
                ledger.published.iter().filter(|body| !ledger.acked.contains(*body)).count()
            };
            while missing(&ledger) > 0 {
                let delivery = next(&mut taken).await;
                ledger.acked.insert(body(&delivery));
                delivery.settle(Verdict::Ack).await.unwrap();
            }
        });
        runtime.block_on(all_are_there_once(&engine, &ledger));
        again += ledger.again;
        redelivered += ledger.attempts.values().filter(|attempts| **attempts > 1).count();
    }
    assert!(redelivered > 20, "only {redelivered} messages were delivered again");
    assert!(again > 100, "only {again} messages were published again");
}

/// Also those that were published twice, as their publisher was not told of the first time.
async fn all_are_there_once(engine: &Engine, ledger: &Ledger) {
    engine.publish(&Message::new("orders", "the end")).await.unwrap();
    let mut all: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("orders", "audit")).await.unwrap());
    let mut found = BTreeSet::new();
    loop {
        match take(&mut all).await {
            end if end == "the end" => break,
            body => assert!(found.insert(body.clone()), "{body} is there twice"),
        }
    }
    assert!(found.is_superset(&ledger.published));
}

fn subscription() -> Subscription {
    let mut subscription = queue("orders", "billing");
    subscription.max_attempts = 1000;
    subscription
}

/// Publishes and consumes until the power is cut.
async fn life(
    engine: &Engine,
    disk: &Forgetful,
    ledger: &mut Ledger,
    random: &mut fastrand::Rng,
    cut: u64,
) {
    let Ok(taken) = engine.subscribe(subscription()).await else { return };
    let mut taken: Box<dyn Deliveries> = Box::new(taken);
    disk.cut_power_at(random.u64(5..60), cut);
    for number in 0..20 {
        let body = ledger.in_doubt.take().unwrap_or_else(|| format!("{cut}-{number}"));
        let mut message = Message::new("orders", body.clone());
        message.id = Some(body.clone());
        message.priority = random.u8(..3);
        if engine.publish(&message).await.is_err() {
            ledger.in_doubt = Some(body);
            ledger.again += 1;
            return;
        }
        ledger.published.insert(body);
        while let Ok(Ok(Some(delivery))) = timeout(Duration::from_millis(2), taken.next()).await {
            let body = self::body(&delivery);
            let attempts = ledger.attempts.entry(body.clone()).or_default();
            *attempts += 1;
            match random.u8(..3) {
                0 => drop(delivery),
                _ => {
                    if delivery.settle(Verdict::Ack).await.is_err() {
                        return;
                    }
                    ledger.acked.insert(body);
                }
            }
        }
    }
}
