use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::Table;
use crate::codec::{Json, Proto, Raw};
use crate::error::{Code, Reason};
use crate::store::{Fence, Level, Memory, Place};

fn table(name: &str) -> Table {
    Table::new(Arc::new(Memory::new()), name).unwrap()
}

#[tokio::test]
async fn values_of_a_programs_own_types_are_written_and_read() {
    let orders = table("orders");
    assert_eq!(orders.place(), &Place::new("micro", "orders").unwrap());
    assert_eq!(orders.get::<Json<u64>>("7").await.unwrap(), None);
    let gone = orders.read::<Json<u64>>("7").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert!(gone.detail().contains("\"7\" in micro/orders"), "{gone}");
    let hour = Duration::from_secs(3600);
    let edit = orders.write("7", Json(["tea", "milk"].map(str::to_owned).to_vec())).ttl(hour);
    let version = edit.metadata("by", "ada").metadata("n", [1, 2]).await.unwrap();
    let order = orders.read::<Json<Vec<String>>>("7").await.unwrap();
    assert_eq!((order.value.0.join(" "), order.version), ("tea milk".into(), version));
    assert_eq!(serde_json::to_string(&order.metadata).unwrap(), r#"{"by":"ada","n":[1,2]}"#);
    assert!(order.expires_in.is_some_and(|left| left <= hour && left > hour / 2));
    // Bytes as they are: JSON is kept as JSON.
    let raw = orders.read::<Raw>("7").await.unwrap();
    assert_eq!(&raw.value.0[..], br#"["tea","milk"]"#);
    let timestamp = prost_types::Timestamp { seconds: 7, nanos: 0 };
    orders.write("when", Proto(timestamp)).await.unwrap();
    assert_eq!(
        orders.read::<Proto<prost_types::Timestamp>>("when").await.unwrap().value.0,
        timestamp
    );
    let other = orders.read::<Json<u64>>("7").await.unwrap_err();
    assert_eq!(other.code(), Code::DataLoss);
    assert!(other.detail().contains("the record \"7\" of micro/orders"), "{other}");
}

#[tokio::test]
async fn changes_have_conditions_and_fences() {
    let orders = table("orders");
    let reason = |error: crate::Error| error.reason();
    let first = orders.write("a", Json(1)).if_absent().await.unwrap();
    let again = orders.write("a", Json(2)).if_absent().await.unwrap_err();
    assert_eq!(reason(again), Some(Reason::Conflict));
    orders.check("a").if_version(first).await.unwrap();
    let second = orders.write("a", Json(2)).if_version(first).level(Level::Written).await.unwrap();
    let stale = orders.delete("a").if_version(first).await.unwrap_err();
    assert_eq!(reason(stale), Some(Reason::Conflict));
    assert_eq!(orders.delete("b").await.unwrap(), 0);
    orders.write("a", Json(3)).if_token("leader", 8).await.unwrap();
    let fence = Fence { lock: "leader".into(), token: 7 };
    let stale = orders.write("a", Json(4)).fence(fence).await.unwrap_err();
    assert_eq!(reason(stale), Some(Reason::StaleToken));
    assert!(orders.delete("a").if_present().await.unwrap() > second);
    let wrong = orders.delete("a").ttl(Duration::from_secs(1)).await.unwrap_err();
    assert!(wrong.detail().starts_with("a time to live belongs to a record"), "{wrong}");
    let wrong = orders.check("a").metadata("a", 1).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_batch_is_of_several_tables_and_of_one_store() {
    let orders = table("orders");
    let bills = Table::new(orders.store().clone(), "bills").unwrap();
    let made = orders.batch([orders.write("1", Json(1)), bills.write("1", Json(2)).if_absent()]);
    assert_eq!(made.await.unwrap(), [1, 2]);
    let lost = [orders.write("1", Json(5)).if_token("a", 1), bills.write("1", Json(2)).if_absent()];
    let lost = orders.batch(lost).await.unwrap_err();
    assert_eq!(lost.reason(), Some(Reason::Conflict));
    assert_eq!(orders.read::<Json<u64>>("1").await.unwrap().value, Json(1));
    let foreign = table("orders");
    let mixed = orders.batch([orders.write("2", Json(1)), foreign.write("1", Json(2))]);
    assert!(mixed.await.unwrap_err().detail().contains("another store"));
    assert_eq!(orders.get::<Json<u64>>("2").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_is_walked_without_all_of_it_in_memory() {
    let orders = table("orders");
    for nth in 0..2500_u64 {
        orders.write(format!("o/{nth:04}"), Json(nth)).await.unwrap();
    }
    orders.write("z", Raw(Bytes::from_static(b"no JSON"))).await.unwrap();
    let all = orders.list().prefix("o/").entries::<Json<u64>>().all().await.unwrap();
    let values: Vec<_> = all.iter().map(|entry| entry.value.0).collect();
    assert_eq!(values, (0..2500).collect::<Vec<_>>());
    let some = orders.list().prefix("o/").suffix("0").after("o/0100").offset(1).limit(150);
    let some: Vec<_> = some.clone().keys().try_collect().await.unwrap();
    let wanted: Vec<_> = (12..162).map(|nth| format!("o/{:04}", nth * 10)).collect();
    assert_eq!(some, wanted);
    let mut back = orders.list().descending().limit(1200).keys();
    assert_eq!(back.next().await.unwrap().as_deref(), Some("z"));
    // What comes meanwhile and belongs behind is seen, what is gone is not.
    orders.write("o/0000x", Json(0)).await.unwrap();
    orders.delete("o/1301").await.unwrap();
    let rest = back.all().await.unwrap();
    assert_eq!((rest.len(), rest.contains(&"o/1301".to_owned())), (1199, false));
    let mut wrong = orders.list().after("o/2498").entries::<Json<u64>>();
    assert_eq!(wrong.next().await.unwrap().unwrap().value, Json(2499));
    assert_eq!(wrong.next().await.unwrap_err().code(), Code::DataLoss);
}

#[tokio::test]
async fn changes_are_watched_as_values() {
    let orders = table("orders");
    let first = orders.write("a/1", Json(1)).await.unwrap();
    let mut next = orders.watch::<Json<u64>>().prefix("a/").await.unwrap();
    let mut all = orders.watch::<Json<u64>>().after(first - 1).await.unwrap();
    orders.write("b/1", Json(2)).await.unwrap();
    orders.write("a/1", Raw(Bytes::from_static(b"no JSON"))).await.unwrap();
    orders.delete("a/1").await.unwrap();
    assert_eq!(next.next().await.unwrap_err().code(), Code::DataLoss);
    let gone = next.next().await.unwrap().unwrap();
    assert_eq!((gone.key.as_str(), gone.entry), ("a/1", None));
    let seen = all.next().await.unwrap().unwrap();
    assert_eq!((seen.version, seen.entry.unwrap().value), (first, Json(1)));
    assert_eq!(all.next().await.unwrap().unwrap().key, "b/1");
    assert_eq!(orders.store().name(), "memory");
}
