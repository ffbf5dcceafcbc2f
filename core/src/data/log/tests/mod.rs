//! The log on a disk that forgets, tears, fails and fills.

mod compact;
mod power;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Append, Level, Limit, Log, Record, Recovery, Settings, segment};
use crate::data::disk::forgetful::Forgetful;
use crate::data::disk::{Disk, Folder};
use crate::error::{Code, Result};

const ALL: Limit = Limit { records: usize::MAX, bytes: usize::MAX };

fn small() -> Settings {
    Settings { segment_bytes: 4096, sync_within: Duration::from_millis(1), ..Settings::default() }
}

fn open(disk: &Forgetful) -> Result<(Log, Recovery)> {
    Log::open(Arc::new(disk.clone()), small(), ())
}

fn record(topic: &str, body: &str) -> Append {
    Append {
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        body: [Bytes::copy_from_slice(body.as_bytes()), Bytes::new()],
    }
}

async fn append(log: &Log, topic: &str, body: &str) -> Result<u64> {
    Ok(log.append(vec![record(topic, body)], Level::Synced).await?.start)
}

async fn bodies(log: &Log, topic: &str, from: u64) -> Vec<String> {
    all(log, topic, from).await.iter().map(|(_, body)| body.clone()).collect()
}

async fn all(log: &Log, topic: &str, from: u64) -> Vec<(u64, String)> {
    let (mut from, mut found) = (from, Vec::new());
    loop {
        let limit = Limit { records: 7, bytes: 900 };
        let records = log.read(topic.as_bytes(), from, limit).await.unwrap();
        let Some(last) = records.last() else { return found };
        from = last.sequence + 1;
        found.extend(records.iter().map(text));
    }
}

fn text(record: &Record) -> (u64, String) {
    (record.sequence, String::from_utf8(record.body.to_vec()).unwrap())
}

#[tokio::test]
async fn records_are_read_by_topic_from_memory_and_from_the_disk_alike() {
    let disk = Forgetful::default();
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery, Recovery { was_closed: true, ..Recovery::default() });
    let mut expected: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for number in 0..500 {
        let topic = ["a", "b", "rare"][if number % 100 == 7 { 2 } else { number % 2 }];
        let body = format!("{number}-{}", "x".repeat(number % 50));
        let sequence = append(&log, topic, &body).await.unwrap();
        expected.entry(topic).or_default().push((sequence, body));
    }
    let check = async |log: &Log| {
        for (topic, expected) in &expected {
            assert_eq!(&all(log, topic, 0).await, expected, "{topic}");
            for nth in [0, 1, expected.len() / 2, expected.len() - 1] {
                let from = expected[nth].0;
                assert_eq!(all(log, topic, from).await, expected[nth..], "{topic} from {nth}");
            }
            assert_eq!(log.topic_end(topic.as_bytes()), expected.last().unwrap().0 + 1);
        }
        assert!(all(log, "none", 0).await.is_empty());
    };
    check(&log).await;
    log.close().await.unwrap();
    assert!(disk.names().unwrap().len() > 10, "there is one segment");
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery, Recovery { records: 500, torn_bytes: 0, was_closed: true });
    check(&log).await;
    // Believing indexes, and without any.
    log.close().await.unwrap();
    drop(log);
    let believing = Settings { verified_bytes: 0, ..small() };
    let (log, recovery) = Log::open(Arc::new(disk.clone()), believing, ()).unwrap();
    assert_eq!(recovery.records, 500);
    check(&log).await;
    log.close().await.unwrap();
    for name in disk.names().unwrap().iter().filter(|name| name.ends_with(".index")) {
        disk.remove(name).unwrap();
    }
    let (log, _) = Log::open(Arc::new(disk), believing, ()).unwrap();
    check(&log).await;
}

#[tokio::test]
async fn the_next_record_is_waited_for() {
    let (log, _) = open(&Forgetful::default()).unwrap();
    let log = Arc::new(log);
    let changed = log.changed(b"a");
    let follower = tokio::spawn({
        let log = log.clone();
        async move {
            loop {
                let mut next = std::pin::pin!(changed.notified());
                next.as_mut().enable();
                match log.read(b"a", 0, ALL).await {
                    Ok(records) if records.is_empty() => next.await,
                    read => return read,
                }
            }
        }
    });
    append(&log, "b", "not this").await.unwrap();
    append(&log, "a", "this").await.unwrap();
    assert_eq!(text(&follower.await.unwrap().unwrap()[0]).1, "this");
}

#[tokio::test]
async fn a_topic_is_read_from_a_time_on() {
    let disk = Forgetful::default();
    let (log, _) = open(&disk).unwrap();
    for number in 0..300 {
        append(&log, if number % 3 == 0 { "a" } else { "b" }, &"x".repeat(40)).await.unwrap();
        if number % 50 == 0 {
            // Times are those of the system, in milliseconds.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let mut records = Vec::new();
    let mut from = 0;
    while let Some(last) = {
        let more = log.read(b"a", from, ALL).await.unwrap();
        records.extend(more.iter().cloned());
        more.last().map(|last| last.sequence)
    } {
        from = last + 1;
    }
    assert_eq!(records.len(), 100);
    let times: Vec<u64> = records.iter().map(|record| record.time).collect();
    assert!(times.is_sorted() && times.first() < times.last());
    for time in [0, times[0], times[50], times[99], times[99] + 1] {
        let expected = records.iter().find(|record| record.time >= time);
        let expected = expected.map_or(from, |record| record.sequence);
        assert_eq!(log.at(b"a", time).await.unwrap(), expected, "at {time}");
    }
}

#[tokio::test]
async fn one_sync_covers_what_came_while_the_last_one_ran() {
    let disk = Forgetful::default();
    let (log, _) = Log::open(Arc::new(disk.clone()), Settings::default(), ()).unwrap();
    let before = disk.syncs();
    let appends = (0..1000).map(|number| {
        let topic = format!("topic-{}", number % 100);
        let log = &log;
        async move { append(log, &topic, "body").await }
    });
    for outcome in futures(appends).await {
        outcome.unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 100, "{syncs} syncs for 1000 records");
}

/// Waits for all at once.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(outcome) = future.as_mut().poll(context)
            {
                *done = Some(outcome);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_damaged_record_with_others_behind_it_keeps_the_log_from_opening() {
    let disk = Forgetful::default();
    let (log, _) = open(&disk).unwrap();
    for number in 0..20 {
        append(&log, "a", &format!("number {number}")).await.unwrap();
    }
    log.close().await.unwrap();
    let name = segment::name(1);
    let len = disk.open(&name).unwrap().len().unwrap() as usize;
    for at in (40..len - 40).step_by(13) {
        disk.flip(&name, at, 0x10);
        let error = open(&disk).err().expect("a damaged log opens");
        assert_eq!(error.code(), Code::DataLoss);
        let text = error.to_string();
        assert!(text.contains(&name) && text.contains("is damaged at byte"), "{text}");
        disk.flip(&name, at, 0x10);
    }
    assert_eq!(bodies(&open(&disk).unwrap().0, "a", 0).await.len(), 20);
}

#[tokio::test]
async fn a_record_that_is_damaged_later_is_not_read() {
    let disk = Forgetful::default();
    let (log, _) = open(&disk).unwrap();
    for number in 0..100 {
        append(&log, "a", &format!("number {number} {}", "z".repeat(60))).await.unwrap();
    }
    log.close().await.unwrap();
    let (log, _) = open(&disk).unwrap();
    disk.flip(&segment::name(1), 200, 1);
    let error = log.read(b"a", 0, ALL).await.unwrap_err();
    assert_eq!(error.code(), Code::DataLoss, "{error}");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_believed_that_it_should_have_kept() {
    let disk = Forgetful::default();
    let (log, _) = Log::open(Arc::new(disk.clone()), Settings::default(), ()).unwrap();
    append(&log, "a", "kept").await.unwrap();
    disk.fail_sync(0);
    let error = append(&log, "a", "lost").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert_eq!(bodies(&log, "a", 0).await, ["kept"]);
    append(&log, "a", "kept too").await.unwrap();
    disk.cut_power(1);
    disk.switch_on();
    drop(log);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(bodies(&log, "a", 0).await, ["kept", "kept too"]);
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_once_it_has_room() {
    let disk = Forgetful::default();
    let (log, _) = open(&disk).unwrap();
    append(&log, "a", "first").await.unwrap();
    disk.set_room(Some(30));
    for _ in 0..3 {
        let error = append(&log, "a", "no room for this one").await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    }
    assert_eq!(bodies(&log, "a", 0).await, ["first"]);
    disk.set_room(None);
    append(&log, "a", "second").await.unwrap();
    disk.set_read_only(true);
    let error = append(&log, "a", "third").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    disk.set_read_only(false);
    append(&log, "a", "fourth").await.unwrap();
    log.close().await.unwrap();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(bodies(&log, "a", 0).await, ["first", "second", "fourth"]);
}

#[tokio::test]
async fn old_segments_are_removed_and_the_rest_is_read() {
    let disk = Forgetful::default();
    let (log, _) = open(&disk).unwrap();
    append(&log, "old", "once").await.unwrap();
    let mut sequences = Vec::new();
    for number in 0..300 {
        sequences.push(append(&log, "a", &format!("{number} {}", "w".repeat(50))).await.unwrap());
    }
    let files = disk.names().unwrap().len();
    assert!(log.remove_before(sequences[150]).unwrap() > 0);
    assert!(disk.names().unwrap().len() < files);
    let left = all(&log, "a", 0).await;
    assert!(left[0].0 <= sequences[150] && left[0].0 > sequences[50], "{}", left[0].0);
    assert_eq!(left.last().unwrap().0, sequences[299]);
    assert!(all(&log, "old", 0).await.is_empty());
    log.close().await.unwrap();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(all(&log, "a", 0).await, left);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (log, _) = open(&Forgetful::default()).unwrap();
    let large = vec![record("a", &"x".repeat((16 << 20) + 1))];
    let error = log.append(large, Level::Synced).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let named = vec![record(&"t".repeat(1025), "")];
    let error = log.append(named, Level::Synced).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    // A record larger than a segment has one of its own.
    append(&log, "a", &"x".repeat(10_000)).await.unwrap();
    append(&log, "a", "y").await.unwrap();
    assert_eq!(bodies(&log, "a", 0).await.len(), 2);
}

#[tokio::test]
async fn files_of_the_system_are_used_alike() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Arc::new(Folder::new(folder.path()));
    let (log, _) = Log::open(disk(), small(), ()).unwrap();
    for number in 0..200 {
        append(&log, "a", &format!("{number} {}", "v".repeat(50))).await.unwrap();
    }
    log.close().await.unwrap();
    let error = append(&log, "a", "late").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let (log, recovery) = Log::open(disk(), small(), ()).unwrap();
    assert_eq!(recovery, Recovery { records: 200, torn_bytes: 0, was_closed: true });
    assert_eq!(bodies(&log, "a", 0).await.len(), 200);
    drop(log);
    let error = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(error > 2);
}
