//! Tables of go-micro.

use std::time::Duration;

use micro::Code;
use micro::store::{Change, Place, Query, Watch};
use micro_tests::postgres::Server;

/// As `store/cockroach` of go-micro 2.9 makes them, but for the database, which is a schema here.
const TABLES: &str = "CREATE SCHEMA shop_eu;
    CREATE TABLE shop_eu.orders (key text NOT NULL, value bytea, metadata JSONB, expiry timestamp with time zone,
        CONSTRAINT orders_pkey PRIMARY KEY (key));
    INSERT INTO shop_eu.orders VALUES
        ('b', 'two', '{\"a\": 1}', NULL), ('B', 'capital', '{}', NULL), ('a/1', NULL, NULL, now() + interval '1 hour'),
        ('a/2', 'gone', 'null', now() - interval '1 hour'), ('a/3', 'three', 'null', NULL)";

#[tokio::test(flavor = "multi_thread")]
async fn records_of_go_micro_are_read_and_never_written() {
    let name = "records_of_go_micro_are_read_and_never_written";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    server.psql(TABLES);
    micro_postgres::provide().unwrap();
    let url = |scheme: &str| {
        format!("{scheme}://shop@127.0.0.1:{}/postgres?layout=go-micro", server.port())
    };
    let store = micro::store::connect(&url("postgresql")).unwrap();
    // go-micro writes every other letter as `_`.
    let place = Place::new("shop.eu", "orders").unwrap();
    let all = Query::all(place.clone());
    let keys = async |query: Query| {
        let page = store.list(&query).await.unwrap();
        let keys: Vec<_> = page.records.into_iter().map(|record| record.key).collect();
        (keys.join(" "), page.has_more)
    };
    assert_eq!(keys(all.clone()).await, ("B a/1 a/3 b".into(), false));
    let back = Query { descending: true, limit: 2, ..all.clone() };
    assert_eq!(keys(back).await, ("b a/3".into(), true));
    assert_eq!(keys(all.prefix("a/")).await, ("a/1 a/3".into(), false));
    let record = store.read(&place, "b").await.unwrap().unwrap();
    assert_eq!((&*record.value, record.metadata["a"].as_i64()), (&b"two"[..], Some(1)));
    let record = store.read(&place, "a/1").await.unwrap().unwrap();
    assert!(record.value.is_empty() && record.metadata.is_empty());
    let left = record.expires_in.unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
    for key in ["a/2", "none"] {
        assert!(store.read(&place, key).await.unwrap().is_none(), "{key}");
    }
    let none = Place::new("none", "orders").unwrap();
    assert!(store.read(&none, "b").await.unwrap().is_none());
    assert_eq!(store.databases().await.unwrap(), ["shop_eu"]);
    assert_eq!(store.tables("shop.eu").await.unwrap(), ["orders"]);
    let refused = store.apply(Change::write(place.clone(), "b", "2").into()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let watch = Watch { place: place.clone(), prefix: String::new(), after: None };
    assert_eq!(
        store.watch(watch).await.err().map(|error| error.code()),
        Some(Code::InvalidArgument)
    );
    let cockroach = micro::store::connect(&url("cockroach")).unwrap();
    assert!(cockroach.read(&place, "b").await.unwrap().is_some());
    assert_eq!(server.psql("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'micro_%'"), "0");
}
