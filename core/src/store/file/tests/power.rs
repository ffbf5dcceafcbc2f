//! What a ledger outside says after hundreds of power cuts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::data::Forgetful;
use crate::data::log::{Log, Settings};
use crate::error::Result;
use crate::store::file::engine::Engine;
use crate::store::{Batch, Change, Condition, Fence, Place};

/// Opens what a disk has.
async fn open(disk: &Forgetful) -> Result<(Arc<Log>, Arc<Engine>)> {
    let settings = Settings { segment_bytes: 16 << 10, ..Settings::default() };
    let log = Arc::new(Log::open(Arc::new(disk.clone()), settings, ())?.0);
    let engine = Engine::open(Arc::new(disk.clone()), log.clone()).await?;
    Ok((log, Arc::new(engine)))
}

/// What was acknowledged, and what may have been made besides.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<String, (u64, String)>,
    in_doubt: BTreeMap<String, String>,
    last: u64,
}

#[test]
fn nothing_acknowledged_is_lost_in_hundreds_of_power_cuts_and_versions_only_grow() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let (mut doubts, mut written, mut cuts) = (0, 0, 0);
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Forgetful::default();
        let mut ledger = Ledger::default();
        for cut in 0..12 {
            runtime.block_on(async {
                let (log, engine) = open(&disk).await.expect("it opens after a power cut");
                audit(&engine, &mut ledger);
                disk.cut_power_at(random.u64(5..120), cut);
                written += live(&engine, &mut ledger, &mut random, cut).await;
                doubts += ledger.in_doubt.len();
                engine.close().await;
                drop(engine);
                let _ = log.close().await;
            });
            disk.cut_power(seed * 100 + cut);
            disk.switch_on();
            cuts += 1;
        }
        runtime.block_on(async {
            let (_log, engine) = open(&disk).await.expect("it opens at the end");
            audit(&engine, &mut ledger);
        });
    }
    assert!(cuts == 144 && doubts > 50 && written > 500, "{cuts} {doubts} {written}");
}

/// Every record is what was acknowledged last, or what was in doubt.
fn audit(engine: &Engine, ledger: &mut Ledger) {
    let keys: Vec<String> =
        ledger.acknowledged.keys().chain(ledger.in_doubt.keys()).cloned().collect();
    for key in keys {
        let found = engine.read(&Place::default(), &key).unwrap();
        let found =
            found.map(|record| (record.version, String::from_utf8(record.value.to_vec()).unwrap()));
        let known = ledger.acknowledged.get(&key).cloned();
        let doubt = ledger.in_doubt.get(&key);
        match &found {
            found if *found == known => {}
            Some((version, value)) if Some(value) == doubt => {
                let floor = known.map_or(0, |(version, _)| version);
                assert!(*version > floor, "{key} went back to {version} from {floor}");
                ledger.last = ledger.last.max(*version);
                ledger.acknowledged.insert(key.clone(), (*version, value.clone()));
            }
            found => panic!("{key} is {found:?}, and was acknowledged as {known:?}, or {doubt:?}"),
        }
    }
    ledger.in_doubt.clear();
}

/// Writes until the power is cut; how often that was acknowledged.
async fn live(engine: &Engine, ledger: &mut Ledger, random: &mut fastrand::Rng, cut: u64) -> usize {
    let mut written = 0;
    for number in 0..60 {
        let keys = [format!("k{}", random.u8(..8)), format!("x{}", random.u8(..8))];
        let value = format!("{cut}-{number}");
        let change = |key: &String| {
            let condition = match ledger.acknowledged.get(key) {
                Some((version, _)) => Condition::Version(*version),
                None => Condition::Absent,
            };
            Change::write(Place::default(), key, value.clone()).only_if(condition)
        };
        let changes = keys.iter().map(change).collect();
        let fences = vec![Fence { lock: "leader".into(), token: cut }];
        let batch = Batch { changes, fences, ..Batch::default() };
        match engine.apply(batch).await {
            Ok(versions) => {
                written += 1;
                for (key, version) in keys.iter().zip(versions) {
                    assert!(version > ledger.last, "{version} after {}", ledger.last);
                    ledger.last = version;
                    ledger.acknowledged.insert(key.clone(), (version, value.clone()));
                }
                if random.u8(..10) == 0 && engine.keep(u64::MAX).await.is_err() {
                    return written;
                }
            }
            Err(error) => {
                assert!(error.reason().is_none(), "{error}");
                ledger.in_doubt.extend(keys.map(|key| (key, value.clone())));
                return written;
            }
        }
    }
    written
}
