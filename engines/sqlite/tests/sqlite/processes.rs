//! Several processes at one file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::store::{Change, Condition, Place, Store as _, Watch};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::store;

const FOLDER: &str = "MICRO_TEST_SQLITE_FOLDER";
const NAME: &str = "MICRO_TEST_SQLITE_NAME";
const SOON: Duration = Duration::from_secs(30);
/// Records that each process counts at the same time.
const KEYS: usize = 4;
/// Processes at a time, and those that are killed.
const PROCESSES: usize = 3;
const KILLS: usize = 8;

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Not a test: counts records up, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn counts_until_it_is_killed() {
    let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(NAME)) else { return };
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..KEYS {
        let store = store(Path::new(&folder), "store.db");
        let key = format!("{name}-{index}");
        tasks.spawn(async move {
            let place = Place::default();
            let found = store.read(&place, &key).await.unwrap();
            let (mut sum, mut version) =
                found.map_or((0, 0), |found| (number(&found.value), found.version));
            loop {
                let condition = match version {
                    0 => Condition::Absent,
                    version => Condition::Version(version),
                };
                let change = Change::write(place.clone(), key.clone(), (sum + 1).to_string());
                match store.apply(change.only_if(condition).into()).await {
                    Ok(versions) => {
                        (sum, version) = (sum + 1, versions[0]);
                        println!("counted {key} {sum} {version}");
                    }
                    // None is promised its turn.
                    Err(error) => assert_eq!(error.code(), micro::Code::Unavailable, "{error}"),
                }
            }
        });
    }
    tasks.join_all().await;
}

type Ledger = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

struct Process(Child);

impl Process {
    fn start(folder: &Path, name: &str, ledger: &Ledger) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::counts_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder)
            .env(NAME, name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((_, told)) = line.split_once("counted ") else { continue };
                let [key, sum, version] = told.split(' ').collect::<Vec<_>>()[..] else { continue };
                // The last line of one that was killed may be a part of one.
                if let (Ok(sum), Ok(version)) = (sum.parse(), version.parse::<u64>()) {
                    let mut ledger = ledger.lock().unwrap();
                    let known = ledger.entry(key.to_owned()).or_default();
                    if sum > known.0 {
                        assert!(version > known.1, "versions grow: {line}");
                        *known = (sum, version);
                    }
                }
            }
        });
        Self(child)
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn total(ledger: &Ledger) -> u64 {
    ledger.lock().unwrap().values().map(|(sum, _)| sum).sum()
}

async fn more(ledger: &Ledger, count: u64) {
    let before = total(ledger);
    let counted = timeout(SOON, async {
        while total(ledger) < before + count {
            sleep(Duration::from_millis(5)).await;
        }
    });
    counted.await.expect("something is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_processes_are_killed() {
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::default();
    let start = |index: usize| Process::start(folder.path(), &format!("p{index}"), &ledger);
    let mut processes: Vec<Process> = (0..PROCESSES).map(start).collect();
    for kill in 0..KILLS {
        more(&ledger, 40).await;
        let index = kill % PROCESSES;
        processes[index].signal("KILL");
        processes[index].0.wait().unwrap();
        processes[index] = start(index);
    }
    more(&ledger, 40).await;
    drop(processes);
    let store = store(folder.path(), "store.db");
    let known = ledger.lock().unwrap().clone();
    assert_eq!(known.len(), PROCESSES * KEYS, "each has counted: {known:?}");
    for (key, (sum, version)) in known {
        let record = store.read(&Place::default(), &key).await.unwrap().unwrap();
        let there = number(&record.value);
        assert!(there >= sum, "{key}: {there} is there, and {sum} was acknowledged");
        assert!(record.version >= version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_what_another_process_changes() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path(), "store.db");
    let watch = Watch { place: Place::default(), prefix: "p0-1".into(), after: None };
    let mut changes = store.watch(watch).await.unwrap();
    let ledger = Ledger::default();
    let process = Process::start(folder.path(), "p0", &ledger);
    let mut last = 0;
    for _ in 0..20 {
        let event = timeout(SOON, changes.next()).await.unwrap().unwrap().unwrap();
        let sum = number(&event.record.unwrap().value);
        assert!(event.key == "p0-1" && sum > last, "{sum} after {last}");
        last = sum;
    }
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_still_keeps_nobody_from_reading() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path(), "store.db");
    let ledger = Ledger::default();
    let process = Process::start(folder.path(), "p0", &ledger);
    for _ in 0..20 {
        more(&ledger, 4).await;
        process.signal("STOP");
        let read = timeout(Duration::from_secs(2), store.read(&Place::default(), "p0-0")).await;
        read.expect("a read waits for no writer").unwrap();
        process.signal("CONT");
    }
}
