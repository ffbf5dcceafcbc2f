use std::sync::Arc;
use std::time::Duration;

use super::contract::Subject;
use super::{Batch, Change, Condition, Fence, Memory, Place, Query, Store, Watch};
use crate::error::Reason;

crate::store_contract!(|| {
    let store = Memory::new();
    Subject::new(store.clone(), store)
});

fn change(key: &str) -> Change {
    Change::write(Place::default(), key, key.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_record_is_gone_after_its_time_and_that_is_told() {
    let store = Memory::new();
    let watch = Watch { place: Place::default(), prefix: "a".into(), after: None };
    let mut changes = store.watch(watch).await.unwrap();
    store.apply(change("a1").expires_in(Duration::from_secs(5)).into()).await.unwrap();
    store.apply(change("b1").into()).await.unwrap();
    let written = changes.next().await.unwrap().unwrap();
    assert_eq!((written.key.as_str(), written.version), ("a1", 1));
    let left = written.record.unwrap().expires_in;
    assert_eq!(left, Some(Duration::from_secs(5)));
    let gone = changes.next().await.unwrap().unwrap();
    assert_eq!((gone.key.as_str(), gone.version, gone.record), ("a1", 3, None));
    assert!(store.read(&Place::default(), "a1").await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_writers_one_wins_and_a_stale_token_changes_nothing() {
    let store = Memory::new();
    let first = store.apply(change("a").only_if(Condition::Absent).into()).await.unwrap();
    let again = store.apply(change("a").only_if(Condition::Absent).into()).await.unwrap_err();
    assert_eq!(again.reason(), Some(Reason::Conflict));
    let fenced = |token| {
        let fence = Fence { lock: "leader".into(), token };
        let changes = vec![change("a").only_if(Condition::Version(first[0])), change("c")];
        Batch { changes, fences: vec![fence], ..Batch::default() }
    };
    assert_eq!(store.apply(fenced(7)).await.unwrap(), [2, 3]);
    let stale = store.apply(fenced(6)).await.unwrap_err();
    assert_eq!(stale.reason(), Some(Reason::StaleToken));
    let lost = store.apply(fenced(8)).await.unwrap_err();
    assert_eq!(lost.reason(), Some(Reason::Conflict), "{lost}");
    assert!(store.apply(fenced(7)).await.is_err_and(|e| e.reason() == Some(Reason::Conflict)));
}

#[tokio::test]
async fn lists_are_in_order_and_in_parts() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    for key in ["a/2", "b", "a/1.x", "a/3.x"] {
        store.apply(change(key).into()).await.unwrap();
    }
    let keys = |query: Query| {
        let store = store.clone();
        async move {
            let page = store.list(&query).await.unwrap();
            let keys: Vec<_> = page.records.into_iter().map(|record| record.key).collect();
            (keys.join(" "), page.has_more)
        }
    };
    let all = Query::all(Place::default()).prefix("a/");
    assert_eq!(keys(all.clone()).await, ("a/1.x a/2 a/3.x".into(), false));
    assert_eq!(keys(Query { limit: 1, ..all.clone() }).await, ("a/1.x".into(), true));
    let after = Query { after: Some("a/1.x".into()), ..all.clone() };
    assert_eq!(keys(after.clone()).await, ("a/2 a/3.x".into(), false));
    let back = Query { descending: true, offset: 1, ..all.clone() };
    assert_eq!(keys(back).await, ("a/2 a/1.x".into(), false));
    let back = Query { descending: true, after: Some("a/3.x".into()), ..all.clone() };
    assert_eq!(keys(back).await, ("a/2 a/1.x".into(), false));
    assert_eq!(keys(Query { suffix: ".x".into(), ..all }).await, ("a/1.x a/3.x".into(), false));
}
