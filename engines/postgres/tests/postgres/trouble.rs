//! Servers and processes that are killed and stopped.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use micro::store::{Change, Condition, Place, Store, Watch};
use micro::{Code, Reason};
use micro_tests::postgres::Server;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::store;

/// How long a change may take while there is no server.
const BOUND: Duration = Duration::from_secs(20);
/// Of the process that writes for a test: the port of its server.
const PORT: &str = "MICRO_TEST_POSTGRES_PORT";

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Counts a record of its own up; what was acknowledged.
async fn count(store: Arc<dyn Store>, key: String, ended: Arc<AtomicBool>) -> (String, u64, u32) {
    let place = Place::default();
    let (mut acknowledged, mut refused) = (0, 0);
    // What is there, read again where a change may have been made or not.
    let mut known: Option<(u64, u64)> = None;
    while !ended.load(Ordering::Relaxed) {
        let (sum, version) = match known {
            Some(known) => known,
            None => match timeout(BOUND, store.read(&place, &key)).await.expect("in time") {
                Ok(None) => (0, 0),
                Ok(Some(record)) => (number(&record.value), record.version),
                Err(error) => {
                    assert_eq!(error.code(), Code::Unavailable, "{error}");
                    refused += 1;
                    continue;
                }
            },
        };
        assert!(sum >= acknowledged, "{key}: {sum} is there, and {acknowledged} was acknowledged");
        let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
        let change = Change::write(place.clone(), key.clone(), (sum + 1).to_string());
        let applied = timeout(BOUND, store.apply(change.only_if(condition).into())).await;
        match applied.expect("in time") {
            Ok(versions) => {
                acknowledged = sum + 1;
                known = Some((acknowledged, versions[0]));
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Unavailable, "{error}");
                refused += 1;
                known = None;
            }
        }
    }
    (key, acknowledged, refused)
}

async fn storm(server: &mut Server, rounds: u32, fault: impl AsyncFn(&mut Server)) {
    let ended = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        // Two share their connections, and others have their own.
        let store = store(server, "?connections=3");
        for part in 0..2 {
            tasks.spawn(count(store.clone(), format!("k{task}-{part}"), ended.clone()));
        }
    }
    for _ in 0..rounds {
        sleep(Duration::from_millis(400)).await;
        fault(server).await;
    }
    sleep(Duration::from_millis(400)).await;
    ended.store(true, Ordering::Relaxed);
    let store = store(server, "");
    let mut refusals = 0;
    for (key, acknowledged, refused) in tasks.join_all().await {
        let record = timeout(BOUND, store.read(&Place::default(), &key)).await.unwrap().unwrap();
        let there = record.map_or(0, |record| number(&record.value));
        assert!(acknowledged > 0, "{key}: nothing was acknowledged");
        assert!(
            there >= acknowledged,
            "{key}: {there} is there, and {acknowledged} was acknowledged"
        );
        refusals += refused;
    }
    eprintln!("{refusals} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_is_killed_under_load() {
    let name = "nothing_acknowledged_is_lost_while_the_server_is_killed_under_load";
    let Some(mut server) = Server::listening(name, |_| vec!["fsync=on".into()]).await else {
        return;
    };
    storm(&mut server, 4, async |server| {
        server.kill();
        sleep(Duration::from_millis(200)).await;
        server.serve().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_stands_still_under_load() {
    let name = "nothing_acknowledged_is_lost_while_the_server_stands_still_under_load";
    let Some(mut server) = Server::listening(name, |_| Vec::new()).await else { return };
    storm(&mut server, 2, async |server| {
        server.signal("STOP");
        sleep(Duration::from_secs(7)).await;
        server.signal("CONT");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_changes_fail_in_time_and_watches_go_on_once_it_is_back() {
    let name = "without_a_server_changes_fail_in_time_and_watches_go_on_once_it_is_back";
    let Some(mut server) = Server::listening(name, |_| Vec::new()).await else { return };
    let (ours, others) = (store(&server, ""), store(&server, ""));
    let watch = Watch { place: Place::default(), prefix: String::new(), after: None };
    let mut changes = others.watch(watch).await.unwrap();
    let write = |value: &'static str| Change::write(Place::default(), "a", value);
    ours.apply(write("1").into()).await.unwrap();
    timeout(BOUND, changes.next()).await.unwrap().unwrap().unwrap();
    server.kill();
    let begun = Instant::now();
    let error = ours.apply(write("lost").into()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.detail().contains(&server.port().to_string()), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    server.serve().await;
    let version = ours.apply(write("2").into()).await.unwrap()[0];
    let event = timeout(BOUND, changes.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.version, version);
    server.signal("STOP");
    let begun = Instant::now();
    let error = ours.apply(write("lost").into()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    server.signal("CONT");
    timeout(BOUND, async { while ours.apply(write("3").into()).await.is_err() {} }).await.unwrap();
}

/// Not a test: what a process of the next one does.
#[tokio::test(flavor = "multi_thread")]
async fn writes_until_it_is_killed() {
    let Some(port) = std::env::var_os(PORT) else { return };
    let rest = format!("shop@127.0.0.1:{}/postgres", port.to_str().unwrap());
    let store = micro_postgres::Postgres::new("postgres", &rest).unwrap();
    loop {
        let there = Change::check(Place::default(), "other", Condition::Absent);
        let changes = vec![there, Change::write(Place::default(), "child", "1")];
        let batch = micro::store::Batch { changes, ..Default::default() };
        if let Err(error) = store.apply(batch).await {
            assert_ne!(error.reason(), Some(Reason::Conflict));
        }
    }
}

struct Process(Child);

impl Process {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_still_in_its_transaction_holds_others_up_for_seconds_at_most() {
    let name = "a_process_that_stands_still_in_its_transaction_holds_others_up_for_seconds_at_most";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let ours = store(&server, "");
    let write = || Change::write(Place::default(), "ours", "1");
    ours.apply(write().into()).await.unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trouble::writes_until_it_is_killed", "--nocapture"])
        .env(PORT, server.port().to_string())
        .stdout(Stdio::null())
        .spawn();
    let child = Process(child.unwrap());
    timeout(BOUND, async {
        while ours.read(&Place::default(), "child").await.unwrap().is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    // Stopped again and again, until that is between the two parts of a transaction.
    let mut is_within = false;
    for _ in 0..100 {
        child.signal("STOP");
        sleep(Duration::from_millis(20)).await;
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
        is_within = server.psql(idle) == "1";
        if is_within {
            break;
        }
        child.signal("CONT");
        sleep(Duration::from_millis(fastrand::u64(..10))).await;
    }
    assert!(is_within, "it was never stopped within a transaction");
    let begun = Instant::now();
    ours.apply(write().into()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let before = ours.read(&Place::default(), "child").await.unwrap().unwrap().version;
    child.signal("CONT");
    // It finds its transaction gone, and makes another.
    timeout(BOUND, async {
        while ours.read(&Place::default(), "child").await.unwrap().unwrap().version == before {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}
