//! A thousand power cuts.

use std::collections::BTreeMap;

use super::{all, futures, open, record};
use crate::data::disk::forgetful::Forgetful;
use crate::data::log::{Level, Log};

/// What a ledger outside knows of each record: where it is, and whether it was acknowledged as synced.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<String, (String, Option<u64>)>,
    highest: u64,
}

impl Ledger {
    async fn check(&mut self, log: &Log) {
        let mut found = BTreeMap::new();
        for topic in ["a", "b", "c"] {
            let mut last = 0;
            for (sequence, body) in all(log, topic, 0).await {
                assert!(sequence > last, "numbers of {topic} do not grow");
                last = sequence;
                let (of, _) = self.sent.get(&body).expect("a record that was never sent");
                assert_eq!(of, topic);
                assert_eq!(found.insert(body, sequence), None, "a record is there twice");
            }
            self.highest = self.highest.max(last);
        }
        for (body, (topic, acknowledged)) in &self.sent {
            if let Some(sequence) = acknowledged {
                assert_eq!(found.get(body), Some(sequence), "{body} of {topic} was acknowledged");
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_a_thousand_power_cuts() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let mut torn = 0;
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Forgetful::default();
        let mut ledger = Ledger::default();
        let mut number = 0;
        for cut in 0..25 {
            let (log, recovery) = open(&disk).unwrap_or_else(|error| {
                panic!("seed {seed}, cut {cut}: {error}");
            });
            torn += usize::from(recovery.torn_bytes > 0);
            runtime.block_on(async {
                ledger.check(&log).await;
                let mut appends = Vec::new();
                for _ in 0..random.usize(..30) {
                    let level = if random.bool() { Level::Synced } else { Level::Written };
                    let records: Vec<_> = (0..random.usize(1..4))
                        .map(|_| {
                            number += 1;
                            let topic = ["a", "b", "c"][random.usize(..3)];
                            let body = format!("{number}-{}", "y".repeat(random.usize(..700)));
                            ledger.sent.insert(body.clone(), (topic.into(), None));
                            (topic, body)
                        })
                        .collect();
                    appends.push((level, records));
                }
                if random.u8(..4) == 0 {
                    disk.fail_sync(random.u64(..6));
                }
                let highest = ledger.highest;
                disk.cut_power_at(random.u64(..9), seed * 1000 + cut);
                let outcomes = futures(appends.iter().map(|(level, records)| {
                    let log = &log;
                    async move {
                        // Some come while others are written.
                        tokio::task::yield_now().await;
                        let batch = records.iter().map(|(topic, body)| record(topic, body));
                        log.append(batch.collect(), *level).await
                    }
                }))
                .await;
                for ((level, records), outcome) in appends.iter().zip(outcomes) {
                    let Ok(range) = outcome else { continue };
                    assert!(range.start > highest, "a number is given twice");
                    // Readers may have seen it, even if a power cut takes it away.
                    ledger.highest = ledger.highest.max(range.end - 1);
                    if *level == Level::Synced {
                        for ((_, body), sequence) in records.iter().zip(range) {
                            ledger.sent.get_mut(body).unwrap().1 = Some(sequence);
                        }
                    }
                }
                let _ = log.close().await;
                disk.cut_power(seed * 1000 + cut);
                disk.switch_on();
            });
        }
        let (log, _) = open(&disk).unwrap();
        runtime.block_on(ledger.check(&log));
    }
    assert!(torn > 20, "only {torn} cuts tore anything");
}
