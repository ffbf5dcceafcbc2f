//! What every store says of versions, conditions and fences. One function a promise.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Subject;
use super::steps::{conflict, place, refused, unique};
use crate::error::{Code, Reason};
use crate::store::{Batch, Change, Condition, Fence};

/// How many try the same at once.
const RIVALS: usize = 16;

pub(super) async fn versions_grow_with_every_change(subject: &Subject) {
    let (place, elsewhere) = (place(), place());
    let mut last = 0;
    for nth in 0..20 {
        let (place, key) = (if nth % 2 == 0 { &place } else { &elsewhere }, (nth % 3).to_string());
        let version = subject.write(place, &key, nth.to_string()).await;
        assert!(version > last, "versions grow through the whole store: {version} after {last}");
        last = version;
        if nth % 5 == 4 {
            let deleted = subject.change(Change::delete(place.clone(), &key)).await;
            assert!(deleted > last, "a deletion is a change: {deleted} after {last}");
            last = deleted;
        }
    }
}

pub(super) async fn a_condition_that_does_not_hold_changes_nothing(subject: &Subject) {
    let place = place();
    let write = |key: &str, value: &str, condition| {
        Change::write(place.clone(), key, value.to_owned()).only_if(condition)
    };
    let delete = |key: &str, condition| Change::delete(place.clone(), key).only_if(condition);
    let check = |key: &str, condition| Change::check(place.clone(), key, condition);
    for condition in [Condition::Present, Condition::Version(1), Condition::Version(u64::MAX >> 1)]
    {
        let promise = "what is not there is not changed as if it were";
        conflict(subject.apply(write("a", "no", condition)).await, promise);
        conflict(subject.apply(delete("a", condition)).await, promise);
        conflict(subject.apply(check("a", condition)).await, promise);
    }
    assert_eq!(subject.change(check("a", Condition::Absent)).await, 0, "a check changes nothing");
    assert_eq!(subject.change(delete("a", Condition::Absent)).await, 0, "nothing is deleted");
    assert_eq!(subject.read(&place, "a").await, None, "what is refused changes nothing");
    let first = subject.change(write("a", "1", Condition::Absent)).await;
    for condition in
        [Condition::Absent, Condition::Version(first - 1), Condition::Version(first + 1)]
    {
        let promise = "what is there is not changed as if it were something else";
        conflict(subject.apply(write("a", "no", condition)).await, promise);
        conflict(subject.apply(delete("a", condition)).await, promise);
        conflict(subject.apply(check("a", condition)).await, promise);
    }
    let record = subject.read(&place, "a").await.expect("it is there");
    assert_eq!((&record.value[..], record.version), (&b"1"[..], first), "nothing has changed");
    assert_eq!(subject.change(check("a", Condition::Version(first))).await, 0);
    let second = subject.change(write("a", "2", Condition::Version(first))).await;
    let third = subject.change(write("a", "3", Condition::Present)).await;
    assert!(first < second && second < third, "versions grow");
    conflict(subject.apply(delete("a", Condition::Version(second))).await, "a version is the last");
    subject.change(delete("a", Condition::Version(third))).await;
    let again = subject.change(write("a", "4", Condition::Absent)).await;
    assert!(again > third, "a record that is made again has a version of its own");
}

pub(super) async fn of_many_under_one_condition_one_wins(subject: &Subject) {
    let place = place();
    let mut version = 0;
    for round in 0..10 {
        let condition = if round == 0 { Condition::Absent } else { Condition::Version(version) };
        let mut rivals = JoinSet::new();
        for rival in 0..RIVALS {
            let store = if rival % 2 == 0 { &subject.one } else { &subject.other };
            let store = Arc::clone(store);
            let change = Change::write(place.clone(), "a", rival.to_string()).only_if(condition);
            rivals.spawn(async move { (rival, store.apply(change.into()).await) });
        }
        let mut winners = Vec::new();
        while let Some(done) = rivals.join_next().await {
            match done.expect("a rival ends") {
                (rival, Ok(versions)) => winners.push((rival, versions[0])),
                (_, lost) => conflict(lost, "who comes second is told"),
            }
        }
        assert_eq!(winners.len(), 1, "one wins in round {round}: {winners:?}");
        let (winner, written) = winners[0];
        let record = subject.read(&place, "a").await.expect("it is there");
        assert_eq!(record.value, winner.to_string(), "what the winner wrote is there");
        assert!(written > version, "versions grow");
        version = written;
        assert_eq!(record.version, version, "with the version that the winner got");
    }
}

pub(super) async fn what_is_counted_by_version_loses_nothing(subject: &Subject) {
    let place = place();
    subject.write(&place, "count", "0").await;
    let mut counting = JoinSet::new();
    for rival in 0..8 {
        let store = if rival % 2 == 0 { &subject.one } else { &subject.other };
        let (store, place) = (Arc::clone(store), place.clone());
        counting.spawn(async move {
            let mut done = 0;
            while done < 5 {
                let record = store.read(&place, "count").await.expect("a read");
                let record = record.expect("it is there");
                let text = String::from_utf8_lossy(&record.value).into_owned();
                let more: u64 = text.parse::<u64>().expect("a number") + 1;
                let change = Change::write(place.clone(), "count", more.to_string())
                    .only_if(Condition::Version(record.version));
                match store.apply(change.into()).await {
                    Ok(_) => done += 1,
                    lost => conflict(lost, "who comes second is told"),
                }
            }
        });
    }
    while let Some(done) = counting.join_next().await {
        done.expect("one counts");
    }
    let count = subject.text(&place, "count").await;
    assert_eq!(count.as_deref(), Some("40"), "no count is lost");
}

pub(super) async fn a_stale_fence_changes_nothing(subject: &Subject) {
    let (place, lock, other) = (place(), unique("lock/ü"), unique("lock"));
    let fenced = |value: &str, condition, fences: &[(&str, u64)]| {
        let changes = vec![Change::write(place.clone(), "a", value.to_owned()).only_if(condition)];
        let fences =
            fences.iter().map(|(lock, token)| Fence { lock: (*lock).to_owned(), token: *token });
        Batch { changes, fences: fences.collect(), ..Batch::default() }
    };
    let stale = |result| {
        let promise = "a fence that was passed changes nothing";
        refused(result, Code::FailedPrecondition, Some(Reason::StaleToken), promise);
    };
    let any = Condition::Any;
    subject.apply(fenced("7", any, &[(&lock, 7)])).await.expect("the first token is used");
    subject.apply(fenced("7 again", any, &[(&lock, 7)])).await.expect("and used again");
    // One that does not come through uses no token.
    conflict(subject.apply(fenced("9", Condition::Absent, &[(&lock, 9)])).await, "a conflict");
    subject.apply(fenced("8", any, &[(&lock, 8)])).await.expect("a higher token is used");
    stale(subject.apply(fenced("late", any, &[(&lock, 7)])).await);
    stale(subject.apply(fenced("late", Condition::Absent, &[(&lock, 7)])).await);
    subject.apply(fenced("1", any, &[(&other, 1)])).await.expect("each lock has its own tokens");
    // All of them have to be good, and what is refused counts for none.
    stale(subject.apply(fenced("late", any, &[(&other, 2), (&lock, 7)])).await);
    subject.apply(fenced("1 again", any, &[(&other, 1), (&lock, 8)])).await.expect("both are good");
    assert_eq!(subject.text(&place, "a").await.as_deref(), Some("1 again"), "the rest was refused");
    // By whichever handle.
    stale(subject.other.apply(fenced("late", any, &[(&lock, 7)])).await);
    let large = u64::MAX >> 1;
    subject.apply(fenced("large", any, &[(&lock, large)])).await.expect("tokens may be large");
    stale(subject.apply(fenced("late", any, &[(&lock, large - 1)])).await);
}
