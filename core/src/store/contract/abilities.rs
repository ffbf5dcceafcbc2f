//! What a store does if its abilities say so. One function a promise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Subject;
use super::steps::{conflict, place, refused, watching};
use crate::error::{Code, Reason};
use crate::store::{Batch, Change, Condition, Place, Watch};

fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, ..Batch::default() }
}

pub(super) async fn a_batch_is_made_whole_or_not_at_all(subject: &Subject) {
    if !subject.can().transactions {
        return;
    }
    let (place, elsewhere) = (place(), place());
    let write = |key: &str| Change::write(place.clone(), key, key.to_owned());
    let kept = subject.write(&place, "kept", "kept").await;
    let changes = vec![
        write("a"),
        Change::write(elsewhere.clone(), "b", "b"),
        Change::delete(place.clone(), "kept").only_if(Condition::Version(kept)),
        Change::delete(place.clone(), "nothing"),
        Change::check(place.clone(), "check", Condition::Absent),
        write("c"),
    ];
    let versions = subject.apply(batch(changes.clone())).await.expect("a batch is made");
    assert_eq!(versions.len(), changes.len(), "each change has a version");
    assert_eq!(versions[3..5], [0, 0], "0 where nothing is changed: {versions:?}");
    let grown = [kept, versions[0], versions[1], versions[2], versions[5]];
    assert!(grown.is_sorted_by(|one, other| one < other), "versions rise in order: {grown:?}");
    let record = subject.read(&elsewhere, "b").await.expect("a batch is over several tables");
    assert_eq!(record.version, versions[1]);
    assert_eq!(subject.read(&place, "kept").await, None);
    // The last of them does not hold.
    let first = subject.read(&place, "a").await;
    let changes = vec![
        Change::write(place.clone(), "a", "no"),
        write("d"),
        Change::delete(place.clone(), "c"),
        Change::check(elsewhere, "b", Condition::Absent),
    ];
    conflict(subject.apply(batch(changes)).await, "one condition is for all");
    assert_eq!(subject.read(&place, "a").await, first, "nothing is changed");
    assert_eq!(subject.read(&place, "d").await, None, "nothing is changed");
    assert!(subject.read(&place, "c").await.is_some(), "nothing is changed");
    let twice = vec![write("e"), Change::delete(place.clone(), "e")];
    let promise = "a batch has one change of a record";
    refused(subject.apply(batch(twice)).await, Code::InvalidArgument, None, promise);
    let many = (0..subject.max_changes).map(|nth| write(&format!("many/{nth}"))).collect();
    let versions = subject.apply(batch(many)).await.expect("a batch has many changes");
    assert!(versions.is_sorted_by(|one, other| one < other), "versions rise in order");
    let promise = "and no more than that";
    let too_large = Some(Reason::TooLarge);
    for many in [subject.max_changes + 1, 1025] {
        let many = (0..many).map(|nth| write(&format!("more/{nth}"))).collect();
        refused(subject.apply(batch(many)).await, Code::InvalidArgument, too_large, promise);
    }
    let nothing = subject.apply(Batch::default()).await.expect("nothing is made");
    assert!(nothing.is_empty(), "a batch without changes makes none");
}

pub(super) async fn batches_of_a_key_are_made_one_after_the_other(subject: &Subject) {
    if !subject.can().transactions {
        return;
    }
    let place = place();
    let mut contending = JoinSet::new();
    for rival in 0..16 {
        let store = Arc::clone(if rival % 2 == 0 { &subject.one } else { &subject.other });
        let place = place.clone();
        contending.spawn(async move {
            let mut all = Vec::new();
            for nth in 0..4 {
                let entry = format!("anchor/{rival}/{nth}");
                let entry = Change::write(place.clone(), entry, "").only_if(Condition::Absent);
                let anchor = Change::write(place.clone(), "anchor", format!("{rival}/{nth}"));
                let versions = store.apply(batch(vec![anchor, entry])).await;
                let versions = versions.unwrap_or_else(|error| panic!("all are made: {error}"));
                all.push((versions[0], versions[1], format!("{rival}/{nth}")));
            }
            all
        });
    }
    let mut all = Vec::new();
    while let Some(done) = contending.join_next().await {
        all.extend(done.expect("one contends"));
    }
    all.sort_unstable();
    for pair in all.windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        assert!(one.0 < one.1 && one.1 < other.0, "they are one after the other: {pair:?}");
    }
    let (anchor, _, last) = all.last().expect("the last");
    let record = subject.read(&place, "anchor").await.expect("it is there");
    assert_eq!(record.version, *anchor, "the last is the one with the highest version");
    assert_eq!(record.value, *last, "the last is the one with the highest version");
}

pub(super) async fn a_watch_sees_changes_in_order(subject: &Subject) {
    if !subject.can().watches {
        return;
    }
    let place = place();
    subject.write(&place, "a", "before").await;
    let mut all = subject.watch(watching(&place, "")).await;
    // One at a time, every change is seen.
    for (change, seen) in [
        (Change::write(place.clone(), "a", "1"), "a=1"),
        (Change::write(place.clone(), "b", ""), "b="),
        (Change::delete(place.clone(), "a"), "a=-"),
        (Change::write(place.clone(), "a", "2"), "a=2"),
    ] {
        let version = subject.change(change).await;
        let event = all.next().await;
        let value = event.record.map_or("-".into(), |record| record.value);
        let text = format!("{}={}", event.key, String::from_utf8_lossy(&value));
        assert_eq!(text, seen, "each change is seen, and what was before is not");
        assert_eq!(event.version, version, "with its version");
    }
    // Of many at once, the last one of each record at least.
    let mut writing = JoinSet::new();
    for rival in 0..8 {
        let (store, place) = (Arc::clone(&subject.one), place.clone());
        writing.spawn(async move {
            let mut last = 0;
            for nth in 0..20 {
                let change = Change::write(place.clone(), rival.to_string(), nth.to_string());
                last = store.apply(change.into()).await.expect("a change")[0];
            }
            (rival.to_string(), last)
        });
    }
    let mut lasts = BTreeMap::new();
    while let Some(done) = writing.join_next().await {
        lasts.extend([done.expect("one writes")]);
    }
    while !lasts.is_empty() {
        let event = all.next().await;
        if lasts.get(&event.key) == Some(&event.version) {
            lasts.remove(&event.key);
        }
    }
    subject.change(Change::delete(place.clone(), "nothing")).await;
    all.nothing("what changes nothing is not seen").await;
}

pub(super) async fn a_watch_sees_what_it_is_about_and_no_more(subject: &Subject) {
    if !subject.can().watches {
        return;
    }
    let place = place();
    let neighbour = Place::new(place.database(), "neighbour").expect("a table");
    for prefix in ["", "a/", "a_", "%", "ü", "*"] {
        let mut seen = subject.watch(watching(&place, prefix)).await;
        for key in ["a", "a/1", "axb", "a_b", "%b", "b%", "ü", "*", "u"] {
            subject.write(&neighbour, key, "elsewhere").await;
            subject.write(&place, key, key).await;
            if key.starts_with(prefix) {
                assert_eq!(seen.next_text().await, format!("{key}={key}"), "from {prefix:?} on");
            }
        }
        let end = format!("{prefix}end");
        subject.write(&place, &end, "").await;
        assert_eq!(seen.next_text().await, format!("{end}="), "nothing else from {prefix:?} on");
    }
}

pub(super) async fn a_watch_sees_what_is_over(subject: &Subject) {
    if !subject.can().watches {
        return;
    }
    let place = place();
    let mut seen = subject.watch(watching(&place, "")).await;
    let life = Duration::from_millis(1200);
    let change = Change::write(place.clone(), "a", "1").expires_in(life);
    let version = subject.change(change).await;
    let written = seen.next().await;
    let left = written.record.and_then(|record| record.expires_in).expect("the time that is left");
    assert!(left <= life, "a change tells the time that is left");
    let over = seen.next().await;
    assert_eq!((over.key.as_str(), over.record), ("a", None), "what is over is told");
    assert!(over.version > version, "its end is a change");
    let again = subject.write(&place, "a", "2").await;
    assert!(again > over.version, "its end comes before what is written afterwards");
    assert_eq!(seen.next_text().await, "a=2");
    seen.nothing("an end is told once").await;
}

pub(super) async fn waiting_for_a_change_may_be_cancelled(subject: &Subject) {
    if !subject.can().watches {
        return;
    }
    let place = place();
    let mut seen = subject.watch(watching(&place, "")).await;
    seen.nothing("nothing comes by itself").await;
    // Half of them are given up before anything comes, and none loses it.
    for nth in 0..30_u64 {
        let key = format!("{nth:02}");
        for micros in [0, 1, 100] {
            seen.give_up(Duration::from_micros(micros)).await;
        }
        subject.write(&place, &key, "").await;
        assert_eq!(seen.next_text().await, format!("{key}="), "nothing is lost by giving up");
    }
    drop(seen);
    subject.write(&place, "after", "").await;
}

pub(super) async fn a_watch_begins_after_a_version(subject: &Subject) {
    let place = place();
    let from = |after| Watch { after: Some(after), ..watching(&place, "") };
    if !subject.can().watches_from {
        if subject.can().watches {
            let watched = subject.other.watch(from(1)).await.map(drop);
            let promise = "a watch from a version is refused by one that cannot";
            refused(watched, Code::InvalidArgument, None, promise);
        }
        return;
    }
    let first = subject.write(&place, "a", "1").await;
    subject.write(&place, "b", "2").await;
    let third = subject.change(Change::delete(place.clone(), "b")).await;
    subject.write(&place, "c", "4").await;
    let mut seen = subject.watch(from(first)).await;
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != "c=4") {
        all.push(seen.next_text().await);
    }
    let squeezed = ["b=-", "c=4"].map(str::to_owned).to_vec();
    let whole = ["b=2", "b=-", "c=4"].map(str::to_owned).to_vec();
    assert!(all == whole || all == squeezed, "it begins with the next change: {all:?}");
    subject.write(&place, "d", "5").await;
    assert_eq!(seen.next_text().await, "d=5", "and goes on with what comes");
    let mut seen = subject.watch(from(third)).await;
    assert_eq!(seen.next_text().await, "c=4", "after any version");
    assert_eq!(seen.next_text().await, "d=5", "after any version");
    let last = subject.read(&place, "d").await.expect("it is there").version;
    let mut seen = subject.watch(from(last)).await;
    seen.nothing("nothing comes after the last version").await;
    subject.write(&place, "e", "6").await;
    assert_eq!(seen.next_text().await, "e=6", "until there is something");
}

pub(super) async fn what_it_cannot_do_is_refused(subject: &Subject) {
    let place = place();
    let invalid = Code::InvalidArgument;
    if !subject.can().transactions {
        let write = |key: &str| Change::write(place.clone(), key, "");
        let two = subject.apply(batch(vec![write("a"), write("b")])).await;
        refused(two, invalid, None, "a batch of two is refused by one without transactions");
        assert_eq!(subject.read(&place, "a").await, None, "what is refused changes nothing");
    }
    if !subject.can().watches {
        let watched = subject.other.watch(watching(&place, "")).await.map(drop);
        refused(watched, invalid, None, "a watch is refused by one that cannot");
    }
}
