//! What every store says of lists. One function a promise.

use super::Subject;
use super::cases::odd_keys;
use super::steps::place;
use crate::store::{Place, Query};

pub(super) async fn a_list_is_in_the_order_of_bytes(subject: &Subject) {
    let place = place();
    assert!(
        subject.keys(&Query::all(place.clone())).await.is_empty(),
        "an empty table is no error"
    );
    let mut keys = odd_keys();
    for key in keys.iter().rev() {
        subject.write(&place, key, "").await;
    }
    keys.sort_unstable();
    let all = Query::all(place);
    assert_eq!(subject.keys(&all).await, keys, "keys are in the order of their bytes");
    keys.reverse();
    let back = Query { descending: true, ..all.clone() };
    assert_eq!(subject.keys(&back).await, keys, "or in the other");
    // Each is a bound as any other.
    for (nth, key) in keys.iter().enumerate() {
        let after = Query { after: Some(key.clone()), ..back.clone() };
        assert_eq!(subject.keys(&after).await, keys[nth + 1..], "after {key:?}, descending");
    }
}

pub(super) async fn a_list_is_of_a_prefix_and_a_suffix(subject: &Subject) {
    let place = place();
    let mut keys = odd_keys();
    keys.extend(["a_b", "axb", "a%b", "A/b", "b/a", "日本/1", "日/1", "日本"].map(str::to_owned));
    keys.sort_unstable();
    keys.dedup();
    for key in &keys {
        subject.write(&place, key, "").await;
    }
    for prefix in [
        "",
        "a",
        "a/",
        "a_",
        "a%",
        "/",
        ".",
        "%",
        "_",
        "\\",
        "*",
        "?",
        "日",
        "日本",
        "ü",
        "nothing",
        "\u{10ffff}",
    ] {
        for suffix in ["", "a", "b", "/", "_", "%", "1", "本", "ü", "\\", "*"] {
            let all = Query::all(place.clone()).prefix(prefix);
            let query = Query { suffix: suffix.to_owned(), ..all };
            let wanted: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with(prefix) && key.ends_with(suffix))
                .cloned()
                .collect();
            let listed = subject.keys(&query).await;
            assert_eq!(listed, wanted, "keys from {prefix:?} to {suffix:?}, ends that may overlap");
        }
    }
}

pub(super) async fn a_list_is_walked_in_parts_in_both_orders(subject: &Subject) {
    let place = place();
    let mut keys: Vec<_> =
        (0..25).map(|nth| format!("k/{nth:02}{}", ["x", "y"][nth % 2])).collect();
    for key in keys.iter().chain(&["j".to_owned(), "k".to_owned(), "l".to_owned()]) {
        subject.write(&place, key, key.clone()).await;
    }
    for descending in [false, true] {
        for limit in [1, 7, 25, 1000] {
            let all = Query { limit, descending, ..Query::all(place.clone()).prefix("k/") };
            assert_eq!(subject.walk(all.clone()).await, keys, "in parts of {limit}: {descending}");
            let evens: Vec<_> = keys.iter().filter(|key| key.ends_with('x')).cloned().collect();
            let all = Query { suffix: "x".into(), ..all };
            assert_eq!(subject.walk(all).await, evens, "in parts of {limit}: {descending}");
        }
        let all = Query { limit: 3, descending, ..Query::all(place.clone()).prefix("k/") };
        for offset in [0, 1, 22, 24, 25, 1000] {
            let query = Query { offset, ..all.clone() };
            let rest = &keys[keys.len().min(offset as usize)..];
            let page = subject.list(&query).await;
            let listed: Vec<_> = page.records.iter().map(|record| record.key.clone()).collect();
            assert_eq!(listed, rest[..rest.len().min(3)], "from {offset} on: {descending}");
            assert_eq!(page.has_more, rest.len() > 3, "and whether there is more: {offset}");
        }
        let after = Query { after: Some(keys[4].clone()), offset: 2, ..all.clone() };
        assert_eq!(subject.keys(&after).await, keys[7..10], "an offset is from there on");
        // A place between keys, and one outside of the prefix.
        let between = Query { after: Some(format!("{}0", keys[4])), ..all.clone() };
        let from = if descending { 4 } else { 5 };
        assert_eq!(
            subject.keys(&between).await,
            keys[from..from + 3],
            "after no key that is there"
        );
        let (before, behind) = if descending { ("z", "a") } else { ("a", "z") };
        let before = Query { after: Some(before.into()), ..all.clone() };
        assert_eq!(subject.keys(&before).await, keys[..3], "all are after one before them");
        let behind = Query { after: Some(behind.into()), ..all };
        assert!(subject.keys(&behind).await.is_empty(), "none is after one behind them");
        keys.reverse();
    }
}

impl Subject {
    /// Keys of all pages, each of which has as many as it may have.
    async fn walk(&self, mut query: Query) -> Vec<String> {
        let mut keys = Vec::new();
        loop {
            let page = self.list(&query).await;
            assert!(page.records.len() <= query.limit, "a page has its limit");
            for record in &page.records {
                assert_eq!(record.value, record.key, "a record has its value");
            }
            let before = query.after.take();
            keys.extend(page.records.into_iter().map(|record| record.key));
            if !page.has_more {
                return keys;
            }
            query.after = keys.last().cloned();
            assert_ne!(query.after, before, "a page begins after the key that is given");
        }
    }

    async fn fill(&self, place: &Place, count: usize) {
        for nth in 0..count {
            self.write(place, &format!("{nth:05}"), nth.to_string()).await;
        }
    }
}

pub(super) async fn a_page_has_bounds(subject: &Subject) {
    let small = place();
    subject.fill(&small, Query::MOST + 1).await;
    let page = subject.list(&Query { limit: usize::MAX, ..Query::all(small.clone()) }).await;
    assert_eq!(page.records.len(), Query::MOST, "a page has no more than this, whatever is asked");
    assert!(page.has_more, "and says that there is more");
    let large = place();
    let size = subject.max_value.min(1 << 20) - 100;
    let count = 2 * Query::MOST_BYTES / size + 1;
    for nth in 0..count {
        subject.write(&large, &format!("{nth:05}"), vec![7; size]).await;
    }
    let (mut query, mut pages, mut seen) = (Query::all(large), 0, 0);
    loop {
        let page = subject.list(&query).await;
        let bytes: usize = page.records.iter().map(|record| record.value.len()).sum();
        assert!(bytes <= Query::MOST_BYTES + size, "a page has few bytes, and not {bytes}");
        (pages, seen) = (pages + 1, seen + page.records.len());
        if !page.has_more {
            break;
        }
        assert!(pages <= count, "a page begins after the key that is given");
        query.after = page.records.last().map(|record| record.key.clone());
    }
    assert_eq!(seen, count, "all are listed");
    assert!(pages > 1, "in parts");
}

pub(super) async fn a_list_of_keys_has_no_values(subject: &Subject) {
    let place = place();
    subject.fill(&place, 3).await;
    let page = subject.list(&Query { keys_only: true, ..Query::all(place.clone()) }).await;
    let keys: Vec<_> = page.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["00000", "00001", "00002"]);
    for record in &page.records {
        assert!(record.value.is_empty() && record.metadata.is_empty(), "keys alone: {record:?}");
        assert!(record.version > 0, "with their versions");
    }
}
