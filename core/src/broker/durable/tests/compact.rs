//! Topics of which the last message of each key is kept.

use std::collections::BTreeMap;

use super::*;
use crate::data::log::{Append, Limit};

const SMALL: Settings = Settings {
    segment_bytes: 4096,
    sync_within: Duration::from_secs(1),
    waiting_bytes: 16 << 20,
    record_bytes: 16 << 20,
    verified_bytes: 1 << 30,
};

fn retention(topics: &[&str]) -> Retention {
    let compacted = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Retention { bytes: 8192, age: Duration::from_secs(3600), compacted }
}

fn price(key: &str, value: &str) -> Message {
    let mut message = Message::new("prices", value.to_owned());
    message.key = Some(key.to_owned());
    message
}

/// The messages of a topic: number, key and body.
async fn all(engine: &Engine, topic: &str) -> Vec<(u64, Option<String>, String)> {
    let (mut from, mut found) = (0, Vec::new());
    loop {
        let limit = Limit { records: 100, bytes: 1 << 20 };
        let records = engine.log.read(topic.as_bytes(), from, limit).await.unwrap();
        let Some(last) = records.last() else { return found };
        from = last.sequence + 1;
        for record in records {
            let message = crate::broker::stored::read(topic, record.body).unwrap();
            let text = String::from_utf8(message.body.to_vec()).unwrap();
            found.push((record.sequence, message.key, text));
        }
    }
}

/// The last value of each key.
fn latest(all: &[(u64, Option<String>, String)]) -> BTreeMap<String, (u64, String)> {
    let keyed = all
        .iter()
        .filter_map(|(number, key, value)| Some((key.clone()?, (*number, value.clone()))));
    keyed.collect()
}

/// Publishes prices of ten keys, of which each is set less often than the one before, among much else.
async fn publish_prices(engine: &Engine, rounds: usize, name: &str) {
    for round in 0..rounds {
        for key in 0..10 {
            if round % (key + 1) == 0 {
                engine.publish(&price(&key.to_string(), &format!("{name}{round}"))).await.unwrap();
            }
        }
        engine.publish(&Message::new("prices", format!("no key {round}"))).await.unwrap();
        engine.publish(&Message::new("noise", format!("{round:0200}"))).await.unwrap();
    }
}

#[tokio::test]
async fn the_last_message_of_each_key_outlives_its_age_and_a_reopening() {
    let disk = Forgetful::default();
    let engine = open(&disk, SMALL);
    engine.publish(&price("once", "long ago")).await.unwrap();
    publish_prices(&engine, 60, "a").await;
    let before = all(&engine, "prices").await;
    assert!(engine.tidy(&retention(&["prices"])).await.unwrap() > 8192);
    let after = all(&engine, "prices").await;
    assert_eq!(latest(&after), latest(&before), "with their numbers");
    assert_eq!(after[0].2, "long ago");
    assert!(after.len() < before.len() / 2, "{} of {}", after.len(), before.len());
    // There is nothing new to be removed.
    assert_eq!(engine.tidy(&retention(&["prices"])).await.unwrap(), 0);
    engine.close().await.unwrap();
    let engine = open(&disk, SMALL);
    assert_eq!(all(&engine, "prices").await, after);
    // A queue that is new gets them in the order in which they were published.
    let mut taken: Box<dyn Deliveries> =
        Box::new(engine.subscribe(queue("prices", "new")).await.unwrap());
    assert_eq!(take(&mut taken).await, "long ago");
    drop(taken);
    // What they have is replaced, and then they go too.
    publish_prices(&engine, 60, "b").await;
    engine.publish(&price("once", "of late")).await.unwrap();
    publish_prices(&engine, 60, "c").await;
    let before = all(&engine, "prices").await;
    engine.tidy(&retention(&["prices"])).await.unwrap();
    let after = all(&engine, "prices").await;
    assert_eq!(latest(&after), latest(&before));
    assert!(!after.iter().any(|(_, _, value)| value == "long ago" || value.starts_with('a')));
    assert!(after.len() < 100, "{}", after.len());
    // Without the option, they are as all others.
    publish_prices(&engine, 60, "d").await;
    engine.tidy(&retention(&[])).await.unwrap();
    assert!(!all(&engine, "prices").await.iter().any(|(_, _, value)| value == "of late"));
}

#[tokio::test]
async fn what_has_no_key_or_is_of_no_use_any_more_is_not_kept() {
    let disk = Forgetful::default();
    let engine = open(&disk, SMALL);
    let short = price("short", "over soon").expires_in(Duration::from_millis(1));
    engine.publish(&short).await.unwrap();
    engine.publish(&price("long", "goes on")).await.unwrap();
    publish_prices(&engine, 60, "a").await;
    engine.publish(&price("late", "new")).await.unwrap();
    publish_prices(&engine, 60, "b").await;
    engine.tidy(&retention(&["prices"])).await.unwrap();
    let after = all(&engine, "prices").await;
    let values: Vec<_> = after.iter().map(|(_, _, value)| value.as_str()).collect();
    assert!(values.contains(&"goes on") && values.contains(&"new"), "{values:?}");
    assert!(!values.contains(&"over soon") && !values.contains(&"no key 0"), "{values:?}");
    assert!(all(&engine, "noise").await.len() < 40);
}

#[test]
fn a_power_cut_while_topics_are_compacted_costs_no_last_message() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let mut cuts = 0;
    for seed in 0..60 {
        let disk = Forgetful::default();
        let mut expected = BTreeMap::new();
        for life in 0..4 {
            let engine = open(&disk, SMALL);
            runtime.block_on(async {
                publish_prices(&engine, 20, &format!("{life}-")).await;
                expected = latest(&all(&engine, "prices").await);
                disk.cut_power_at(seed % 12, seed * 10 + life);
                cuts += u32::from(engine.tidy(&retention(&["prices"])).await.is_err());
                let _ = engine.close().await;
            });
            disk.cut_power(seed * 100 + life);
            disk.switch_on();
            let engine = open(&disk, SMALL);
            runtime.block_on(async {
                assert_eq!(latest(&all(&engine, "prices").await), expected, "seed {seed}");
                engine.close().await.unwrap();
            });
        }
    }
    assert!(cuts > 40, "only {cuts} cuts");
}

#[tokio::test]
async fn what_was_dropped_is_not_kept_and_does_not_come_back() {
    let disk = Forgetful::default();
    let engine = open(&disk, SMALL);
    engine.publish(&price("dropped", "secret")).await.unwrap();
    let (sequence, ..) = all(&engine, "prices").await.remove(0);
    let ask = super::super::admin::Ask::DropMessages { topic: "prices".into(), last: sequence };
    engine.answer(ask).await.unwrap();
    publish_prices(&engine, 60, "a").await;
    engine.tidy(&retention(&["prices"])).await.unwrap();
    for _ in 0..2 {
        // All of the topic is behind what is removed.
        for number in 0..100 {
            engine.publish(&Message::new("noise", format!("{number:0200}"))).await.unwrap();
        }
        engine.tidy(&retention(&["prices"])).await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = open(&disk, SMALL);
    let values: Vec<_> = all(&engine, "prices").await;
    assert!(values.len() >= 10 && !values.iter().any(|(_, _, value)| value == "secret"));
}

#[tokio::test]
async fn what_was_dropped_stays_dropped_where_its_segment_is_left_as_it_is() {
    let disk = Forgetful::default();
    let engine = open(&disk, SMALL);
    // A segment of one batch, of which so little is dropped that it would be no smaller without.
    let record = |key: &str, body: &str| {
        let mut message = Message::new("p", body.to_owned());
        message.key = Some(key.to_owned());
        Append { topic: "p".into(), body: crate::broker::stored::write(&message) }
    };
    let mut records = vec![record("k", "")];
    records.extend((0..29).map(|n| record(&format!("key {n:02}"), &"w".repeat(107))));
    let first = engine.log.append(records, Level::Synced).await.unwrap().start;
    let ask = super::super::admin::Ask::DropMessages { topic: "p".into(), last: first };
    engine.answer(ask).await.unwrap();
    for number in 0..100 {
        engine.publish(&Message::new("noise", format!("{number:0200}"))).await.unwrap();
    }
    assert!(engine.log.full_before(u64::MAX)[0].end == first + 30, "it is a segment of its own");
    assert!(engine.tidy(&retention(&["p"])).await.unwrap() > 8192);
    engine.close().await.unwrap();
    let engine = open(&disk, SMALL);
    assert_eq!(engine.log.full_before(u64::MAX)[0], first..first + 30);
    let left = all(&engine, "p").await;
    assert_eq!((left.len(), left[0].1.as_deref()), (29, Some("key 00")));
}
