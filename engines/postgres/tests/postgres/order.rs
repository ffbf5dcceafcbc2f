//! Many who change records at once.

use std::collections::BTreeMap;
use std::time::Duration;

use micro::store::{Batch, Change, Condition, Place, Query, Store, Watch};
use micro::{Code, Reason};
use micro_postgres::Postgres;
use micro_tests::postgres::Server;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::store;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_several_processes_count_is_counted_once_each() {
    let name = "what_several_processes_count_is_counted_once_each";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let mut tasks = JoinSet::new();
    for task in 0..9 {
        let store = store(&server, if task % 3 == 0 { "?pooler=true" } else { "" });
        tasks.spawn(async move {
            let place = Place::default();
            let (mut done, mut last) = (0_u64, 0);
            while done < 30 {
                let found = store.read(&place, "sum").await.unwrap();
                let (sum, condition) = match &found {
                    None => (0, Condition::Absent),
                    Some(record) => (
                        std::str::from_utf8(&record.value).unwrap().parse().unwrap(),
                        Condition::Version(record.version),
                    ),
                };
                let sum: u64 = sum;
                let change = Change::write(place.clone(), "sum", (sum + 1).to_string());
                match store.apply(change.only_if(condition).into()).await {
                    Ok(versions) => {
                        assert!(versions[0] > last);
                        (done, last) = (done + 1, versions[0]);
                    }
                    Err(error) => assert_eq!(error.reason(), Some(Reason::Conflict), "{error}"),
                }
            }
        });
    }
    tasks.join_all().await;
    let sum = store(&server, "").read(&Place::default(), "sum").await.unwrap().unwrap();
    assert_eq!(sum.value, "270");
}

/// Versions are seen in their order: a watch from the highest version of a list misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_a_watch_from_its_highest_version_miss_nothing() {
    let name = "a_list_and_a_watch_from_its_highest_version_miss_nothing";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let place = Place::default();
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = store(&server, "");
        writers.spawn(async move {
            for number in 0..200 {
                let key = format!("k{}", (writer * 7 + number * 3) % 50);
                let change = match number % 5 {
                    0 => Change::delete(Place::default(), key),
                    1 => Change::write(Place::default(), key, number.to_string())
                        .only_if(Condition::Any)
                        .expires_in(Duration::from_millis(50)),
                    _ => Change::write(Place::default(), key, number.to_string()),
                };
                // Some need to be read for, and some do not.
                let check = Change::check(Place::default(), "none", Condition::Absent);
                let changes = if number % 2 == 0 { vec![change, check] } else { vec![change] };
                store.apply(Batch { changes, ..Batch::default() }).await.unwrap();
            }
        });
    }
    let mut watchers = JoinSet::new();
    for watcher in 0..12 {
        let store = store(&server, if watcher % 2 == 0 { "" } else { "?pooler=true" });
        let place = place.clone();
        watchers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(watcher * 20)).await;
            let page = store.list(&Query::all(place.clone())).await.unwrap();
            let mut known: BTreeMap<String, u64> =
                page.records.iter().map(|r| (r.key.clone(), r.version)).collect();
            let mut last = known.values().copied().max().unwrap_or(0);
            let watch = Watch { place, prefix: String::new(), after: Some(last) };
            let mut changes = store.watch(watch).await.unwrap();
            loop {
                let event = timeout(SOON, changes.next()).await.unwrap().unwrap().unwrap();
                assert!(event.version > last, "versions grow");
                last = event.version;
                if event.key == "end" {
                    return known;
                }
                match event.record {
                    Some(record) => known.insert(event.key, record.version),
                    None => known.remove(&event.key),
                };
            }
        });
    }
    writers.join_all().await;
    let end = store(&server, "");
    // What has a time to live is over before the end is told.
    timeout(SOON, async {
        while end
            .list(&Query::all(place.clone()))
            .await
            .unwrap()
            .records
            .iter()
            .any(|record| record.expires_in.is_some())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let tidy = Postgres::new("postgres", &format!("shop@127.0.0.1:{}/postgres", server.port()));
    tidy.unwrap().tidy().await.unwrap();
    let page = end.list(&Query::all(place.clone())).await.unwrap();
    let there: BTreeMap<String, u64> =
        page.records.into_iter().map(|record| (record.key, record.version)).collect();
    end.apply(Change::write(place.clone(), "end", "").into()).await.unwrap();
    for known in watchers.join_all().await {
        assert_eq!(known, there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_forgotten_after_a_while_and_that_is_told() {
    let name = "deletions_are_forgotten_after_a_while_and_that_is_told";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let rest = format!("shop@127.0.0.1:{}/postgres?history=20", server.port());
    let store = Postgres::new("postgres", &rest).unwrap();
    let place = Place::default();
    for number in 0..30 {
        let key = format!("k{number}");
        store.apply(Change::write(place.clone(), key.clone(), "v").into()).await.unwrap();
        store.apply(Change::delete(place.clone(), key).into()).await.unwrap();
    }
    let from = |after| Watch { place: place.clone(), prefix: String::new(), after: Some(after) };
    let mut early = store.watch(from(0)).await.unwrap();
    store.tidy().await.unwrap();
    // 60 changes, and the last 20 are known.
    assert_eq!(server.psql("SELECT count(*) FROM micro_records"), "10");
    let gone = early.next().await.unwrap_err();
    assert_eq!((gone.code(), gone.reason()), (Code::OutOfRange, Some(Reason::HistoryGone)));
    let gone = store.watch(from(39)).await.err().expect("too early");
    assert_eq!(gone.reason(), Some(Reason::HistoryGone), "{gone}");
    let mut late = store.watch(from(40)).await.unwrap();
    let event = timeout(SOON, late.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.key.as_str(), event.version, event.record), ("k20", 42, None));
}
