//! What is kept of segments from which the rest was removed.

use std::collections::BTreeSet;

use super::*;
use crate::data::log::Kept;

/// A log with two topics over many segments, and what is to be kept of those that are full: every seventh record of one.
async fn filled(disk: &Forgetful) -> (Log, u64, Kept, Vec<(u64, String)>) {
    let (log, _) = open(disk).unwrap();
    for number in 0..400 {
        let topic = ["prices", "noise"][number % 2];
        append(&log, topic, &format!("{number} {}", "w".repeat(60))).await.unwrap();
    }
    let before = log.full_before(u64::MAX).last().unwrap().end;
    let prices = all(&log, "prices", 0).await;
    let is_kept = |(nth, (sequence, _)): &(usize, &(u64, String))| {
        *sequence >= before || (nth % 7 == 0 && *sequence > before / 3)
    };
    let left: Vec<_> =
        prices.iter().enumerate().filter(is_kept).map(|(_, record)| record.clone()).collect();
    let numbers: BTreeSet<u64> = left.iter().map(|(sequence, _)| *sequence).collect();
    let kept = Kept::from([(Bytes::from_static(b"prices"), numbers)]);
    (log, before, kept, left)
}

#[tokio::test]
async fn what_is_kept_has_its_number_and_time_and_the_rest_is_gone() {
    let disk = Forgetful::default();
    let (log, before, kept, left) = filled(&disk).await;
    let times = |records: Vec<Record>| -> BTreeMap<u64, u64> {
        records.iter().map(|record| (record.sequence, record.time)).collect()
    };
    let read = async |log: &Log| {
        let mut read = BTreeMap::new();
        let mut from = 0;
        loop {
            let records = log.read(b"prices", from, ALL).await.unwrap();
            let Some(last) = records.last() else { return read };
            from = last.sequence + 1;
            read.extend(times(records));
        }
    };
    let published = read(&log).await;
    let (segments, files) = (log.full_before(before).len(), disk.names().unwrap().len());
    let freed = log.keep(0..before, &kept).unwrap();
    assert!(freed > 20_000, "{freed}");
    assert!(disk.names().unwrap().len() < files, "segments of which nothing is kept are gone");
    let check = async |log: &Log| {
        assert_eq!(all(log, "prices", 0).await, left);
        let middle = left.len() / 2;
        assert_eq!(all(log, "prices", left[middle].0).await, left[middle..]);
        assert!(read(log).await.iter().all(|(number, time)| published[number] == *time));
        let noise = all(log, "noise", 0).await;
        assert!(noise.iter().all(|(sequence, _)| *sequence >= before) && !noise.is_empty());
    };
    check(&log).await;
    assert!(log.full_before(before).len() < segments);
    // Once more, it is as it was.
    assert_eq!(log.keep(0..before, &kept).unwrap(), 0);
    log.close().await.unwrap();
    drop(log);
    for settings in [small(), Settings { verified_bytes: 0, ..small() }] {
        let (log, recovery) = Log::open(Arc::new(disk.clone()), settings, ()).unwrap();
        assert!(recovery.was_closed);
        check(&log).await;
        log.close().await.unwrap();
    }
    let (log, _) = open(&disk).unwrap();
    let last = append(&log, "prices", "next").await.unwrap();
    assert!(last > published.keys().next_back().copied().unwrap());
    // Now nothing is.
    log.keep(0..before, &Kept::new()).unwrap();
    let rest: Vec<_> = left.iter().filter(|(sequence, _)| *sequence >= before).cloned().collect();
    let found = all(&log, "prices", 0).await;
    assert_eq!((&found[..rest.len()], &*found[rest.len()].1), (&rest[..], "next"));
}

#[tokio::test]
async fn a_power_cut_at_any_moment_leaves_all_that_is_kept() {
    for n in 0.. {
        let disk = Forgetful::default();
        let (log, before, kept, left) = filled(&disk).await;
        disk.cut_power_at(n, n);
        let done = log.keep(0..before, &kept);
        let _ = log.close().await;
        disk.cut_power(n);
        disk.switch_on();
        let (log, _) = open(&disk).unwrap();
        let found = all(&log, "prices", 0).await;
        let missing: Vec<_> = left.iter().filter(|record| !found.contains(record)).collect();
        assert!(missing.is_empty(), "cut at {n}: {missing:?}");
        assert!(found.is_sorted_by_key(|(sequence, _)| *sequence), "cut at {n}");
        // What was left undone is done now, also where a file was left half written.
        log.keep(0..before, &kept).unwrap();
        assert_eq!(all(&log, "prices", 0).await, left, "cut at {n}");
        if done.is_ok() {
            assert!(n > 30, "only {n} cuts");
            return;
        }
    }
}

#[tokio::test]
async fn a_reader_of_a_segment_that_is_written_anew_reads_on() {
    let disk = Forgetful::default();
    let (log, before, kept, left) = filled(&disk).await;
    let log = Arc::new(log);
    let reading = tokio::spawn({
        let log = log.clone();
        async move {
            let mut read = Vec::new();
            for _ in 0..20 {
                read.push(all(&log, "prices", 0).await);
                tokio::task::yield_now().await;
            }
            read
        }
    });
    let keeping = log.clone();
    crate::data::log::blocking(move || keeping.keep(0..before, &kept)).await.unwrap().unwrap();
    for read in reading.await.unwrap() {
        assert!(left.iter().all(|record| read.contains(record)));
    }
    assert_eq!(all(&log, "prices", 0).await, left);
}

#[tokio::test]
async fn a_full_disk_keeps_what_it_has_and_gives_back_what_needs_no_room() {
    let disk = Forgetful::default();
    let (log, before, kept, left) = filled(&disk).await;
    let prices = all(&log, "prices", 0).await;
    let files = disk.names().unwrap().len();
    disk.set_room(Some(0));
    let error = log.keep(0..before, &kept).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(disk.names().unwrap().len() < files, "nothing was given back");
    let found = all(&log, "prices", 0).await;
    assert!(left.iter().all(|record| found.contains(record)) && found.len() < prices.len());
    disk.set_room(None);
    log.keep(0..before, &kept).unwrap();
    assert_eq!(all(&log, "prices", 0).await, left);
}
