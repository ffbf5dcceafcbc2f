//! A store over a real Redis server, and locks over that: what every one promises, and what becomes of it when the server ends or is of no use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::store::contract::{Subject, cases};
use micro::store::{Batch, Change, Condition, Fence, Place, Query, Store, Watch};
use micro::sync::contract as sync;
use micro::{Code, Reason};
use micro_redis::RedisStore;
use micro_tests::ours::PATIENCE;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated, isolated_for};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(300);

fn store(server: &Server, options: &str) -> RedisStore {
    RedisStore::new("redis", &format!("{}{options}", server.address())).unwrap()
}

async fn bare(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn write(key: &str, value: impl Into<String>) -> Change {
    Change::write(Place::default(), key, value.into())
}

fn watching(after: Option<u64>) -> Watch {
    Watch { place: Place::default(), prefix: String::new(), after }
}

async fn version(store: &RedisStore, change: Change) -> u64 {
    store.apply(change.into()).await.unwrap()[0]
}

#[test]
fn redis_keeps_the_contract_of_stores() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        for case in cases() {
            eprintln!("{}", case.name());
            let options = "?prefix=shop:";
            case.run(Subject::new(store(&server, options), store(&server, options))).await;
        }
    });
}

#[test]
fn redis_keeps_the_contract_of_locks() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        for case in sync::cases() {
            eprintln!("{}", case.name());
            case.run(sync::Subject::over(store(&server, ""), store(&server, ""))).await;
        }
    });
}

/// Counts by version until told to stop, and says how often that was acknowledged. Whatever the server does, versions grow.
async fn count(store: RedisStore, until: Instant) -> u64 {
    let (mut acknowledged, mut last) = (0, 0);
    while Instant::now() < until {
        let Ok(found) = store.read(&Place::default(), "count").await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (count, condition) = match &found {
            None => (0, Condition::Absent),
            Some(record) => {
                assert!(record.version >= last, "{} after {last}", record.version);
                let count: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
                (count, Condition::Version(record.version))
            }
        };
        let change = write("count", (count + 1).to_string()).only_if(condition);
        if let Ok(versions) = store.apply(change.into()).await {
            assert!(versions[0] > last, "{} after {last}", versions[0]);
            (acknowledged, last) = (acknowledged + 1, versions[0]);
        }
    }
    acknowledged
}

#[test]
fn a_count_by_version_loses_nothing_while_its_server_is_killed() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let mut server = Server::redis(&[]).await;
        let until = Instant::now() + Duration::from_secs(6);
        let mut counting = JoinSet::new();
        for _ in 0..4 {
            counting.spawn(count(store(&server, ""), until));
        }
        for _ in 0..4 {
            sleep(Duration::from_millis(900)).await;
            server.kill();
            sleep(Duration::from_millis(200)).await;
            server.start().await;
        }
        let acknowledged: u64 = counting.join_all().await.into_iter().sum();
        let record = store(&server, "").read(&Place::default(), "count").await.unwrap().unwrap();
        let counted: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
        assert!(acknowledged > 20, "{acknowledged}");
        assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    });
}

#[test]
fn a_server_that_has_forgotten_gives_no_version_and_no_token_twice() {
    isolated(&[Need::Redis], || async {
        let mut server = Server::redis(&["--appendonly", "no"]).await;
        let ours = store(&server, "");
        let first = version(&ours, write("a", "1")).await;
        let mut last = first;
        for number in 0..100 {
            last = version(&ours, write("a", number.to_string())).await;
        }
        assert_eq!(last, first + 100, "versions have no gaps");
        server.kill();
        sleep(Duration::from_secs(1)).await;
        server.start().await;
        assert_eq!(ours.read(&Place::default(), "a").await.unwrap(), None, "it has forgotten all");
        let anew = version(&ours, write("a", "2")).await;
        assert!(anew > last, "{anew} after {last}");
        let error = ours.watch(watching(Some(last))).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
        // The same without a new connection.
        let mut watch = ours.watch(watching(None)).await.unwrap();
        cmd("FLUSHALL").query_async::<()>(&mut bare(&server).await).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let again = version(&ours, write("a", "3")).await;
        assert!(again > anew, "{again} after {anew}");
        let error = timeout(PATIENCE, watch.next()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
    });
}

#[test]
fn a_watch_hears_of_the_end_of_its_server_and_goes_on_from_where_it_was() {
    isolated(&[Need::Redis], || async {
        let mut server = Server::redis(&[]).await;
        let ours = store(&server, "");
        let mut watch = ours.watch(watching(None)).await.unwrap();
        let first = version(&ours, write("a", "1")).await;
        let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.version, first);
        server.kill();
        let error = timeout(PATIENCE, watch.next()).await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        let error = ours.apply(write("a", "lost").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        server.start().await;
        version(&ours, write("b", "2")).await;
        let mut watch = ours.watch(watching(Some(first))).await.unwrap();
        let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.key, "b", "nothing was lost, and nothing is told twice");
        // One that stands still is no better than none.
        server.signal("STOP");
        let begun = Instant::now();
        let error = ours.apply(write("a", "late").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        let error = timeout(PATIENCE, watch.next()).await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        server.signal("CONT");
    });
}

#[test]
fn changes_are_kept_within_a_bound_and_what_is_missed_is_told() {
    isolated_for(LIMIT, &[Need::Redis], || async {
        let server = Server::redis(&["--appendfsync", "everysec"]).await;
        let ours = store(&server, "");
        let first = version(&ours, write("a", "0")).await;
        let mut slow = ours.watch(watching(None)).await.unwrap();
        for _ in 0..10 {
            let changes = (0..1000).map(|nth| write(&format!("k{nth}"), "x".repeat(100)));
            let batch = Batch { changes: changes.collect(), ..Batch::default() };
            ours.apply(batch).await.unwrap();
        }
        let mut length = cmd("XLEN");
        length.arg("{micro:store}:changes");
        let length: u64 = length.query_async(&mut bare(&server).await).await.unwrap();
        assert!((4096..4400).contains(&length), "{length} changes are kept");
        let error = ours.watch(watching(Some(first))).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
        let error = timeout(PATIENCE, slow.next()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
    });
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let ours = store(&server, "");
        let life = Duration::from_millis(300);
        let mut watch = ours.watch(watching(None)).await.unwrap();
        for nth in 0..50 {
            version(&ours, write(&format!("k{nth}"), "1").expires_in(life)).await;
        }
        let mut over = 0;
        while over < 50 {
            let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
            over += u32::from(event.record.is_none());
        }
        assert!(ours.databases().await.unwrap().is_empty());
        let mut keys: Vec<String> =
            cmd("KEYS").arg("*").query_async(&mut bare(&server).await).await.unwrap();
        keys.sort();
        assert_eq!(keys, ["changes", "run", "version"].map(|key| format!("{{micro:store}}:{key}")));
        // Without a watch, changes of others remove it.
        version(&ours, write("short", "1").expires_in(life)).await;
        drop(watch);
        sleep(life * 2).await;
        version(&ours, write("other", "1")).await;
        let mut ends = cmd("ZCARD");
        ends.arg("{micro:store}:ends");
        let ends: u64 = ends.query_async(&mut bare(&server).await).await.unwrap();
        assert_eq!(ends, 0);
    });
}

#[test]
fn a_server_that_may_lose_records_by_itself_is_refused() {
    isolated(&[Need::Redis], || async {
        let evicts = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"];
        let server = Server::redis(&evicts).await;
        let error = store(&server, "").apply(write("a", "1").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(error.detail().contains("`noeviction`"), "{error}");
        version(&store(&server, "?eviction=allowed"), write("a", "1")).await;
        let mut set = cmd("CONFIG");
        set.arg(&["SET", "maxmemory-policy", "noeviction", "maxmemory", "1"]);
        set.query_async::<()>(&mut bare(&server).await).await.unwrap();
        let ours = store(&server, "");
        let error = ours.apply(write("a", "2").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        let primary = server.address().replace(':', " ");
        let replica = Server::redis(&["--replicaof", &primary]).await;
        let error = store(&replica, "").list(&Query::all(Place::default())).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        let cluster = Server::redis(&["--cluster-enabled", "yes"]).await;
        let error = store(&cluster, "").read(&Place::default(), "a").await.unwrap_err();
        assert!(error.detail().contains("Redis Cluster"), "{error}");
    });
}

#[test]
fn a_user_with_rights_on_the_keys_of_a_store_has_a_store() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&["--requirepass", "p@ss:word"]).await;
        let connect = |who: &str| {
            let rest = format!("{who}{}?prefix=shop:", server.address());
            RedisStore::new("redis", &rest).unwrap()
        };
        for who in ["", ":wrong@"] {
            let error = connect(who).read(&Place::default(), "a").await.unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{error}");
            assert!(!error.to_string().contains("wrong@"), "{error}");
        }
        let client =
            redis::Client::open(format!("redis://:p%40ss%3Aword@{}", server.address())).unwrap();
        let mut admin = client.get_multiplexed_async_connection().await.unwrap();
        let mut user = cmd("ACL");
        user.arg(&["SETUSER", "shop", "on", ">secret", "~shop:{micro:store}:*", "+@all"]);
        user.arg("-@admin").arg("-@dangerous");
        user.query_async::<()>(&mut admin).await.unwrap();
        let ours = connect("shop:secret@");
        let first = version(&ours, write("a", "1").expires_in(Duration::from_secs(60))).await;
        let mut watch = ours.watch(watching(Some(first - 1))).await.unwrap();
        let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.version, first);
        assert_eq!(ours.list(&Query::all(Place::default())).await.unwrap().records.len(), 1);
        let elsewhere = format!("shop:secret@{}", server.address());
        let elsewhere = RedisStore::new("redis", &elsewhere).unwrap();
        let error = elsewhere.read(&Place::default(), "a").await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    });
}

#[test]
fn a_record_that_another_program_spoilt_is_told_by_name() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let ours = store(&server, "");
        version(&ours, write("a", "1")).await;
        let mut set = cmd("SET");
        set.arg("{micro:store}:record:micro/micro/a").arg("spoilt");
        set.query_async::<()>(&mut bare(&server).await).await.unwrap();
        let error = ours.read(&Place::default(), "a").await.unwrap_err();
        assert_eq!(error.code(), Code::DataLoss, "{error}");
        assert!(error.detail().contains("`a`"), "{error}");
        version(&ours, write("a", "2")).await;
        assert!(ours.read(&Place::default(), "a").await.unwrap().is_some());
    });
}

#[test]
fn a_holder_that_was_passed_over_changes_nothing_in_any_process() {
    isolated(&[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        let stores: Vec<Arc<RedisStore>> = (0..2).map(|_| Arc::new(store(&server, ""))).collect();
        let fenced = |token, value: &str| {
            let fence = Fence { lock: "leader".into(), token };
            Batch { changes: vec![write("a", value)], fences: vec![fence], ..Batch::default() }
        };
        stores[0].apply(fenced(u64::MAX - 1, "old")).await.unwrap();
        stores[1].apply(fenced(u64::MAX, "new")).await.unwrap();
        let error = stores[0].apply(fenced(u64::MAX - 1, "late")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::StaleToken), "{error}");
        let record = stores[0].read(&Place::default(), "a").await.unwrap().unwrap();
        assert_eq!(record.value, "new");
        let mut left = cmd("TTL");
        left.arg("{micro:store}:fence:leader");
        let left: i64 = left.query_async(&mut bare(&server).await).await.unwrap();
        assert!((86_000..=86_400).contains(&left), "a fence is remembered for a day: {left}");
    });
}
