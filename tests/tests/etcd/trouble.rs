//! Servers that are killed, stopped and started again.

use std::time::{Duration, Instant};

use micro::store::{Condition, Place, Store};
use micro::{Code, Reason};
use micro_etcd::Etcd;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated_for};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{next, store, version, watching, write};

const LIMIT: Duration = Duration::from_secs(300);

/// Counts by version until told to stop, and says how often that was acknowledged. Whatever the server does, versions grow.
async fn count(store: Etcd, until: Instant) -> u64 {
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
    isolated_for(LIMIT, &[Need::Etcd], || async {
        let mut server = Server::etcd(&[]).await;
        let until = Instant::now() + Duration::from_secs(16);
        let mut counting = JoinSet::new();
        for _ in 0..4 {
            counting.spawn(count(store(&server), until));
        }
        for _ in 0..3 {
            sleep(Duration::from_secs(3)).await;
            server.kill();
            sleep(Duration::from_millis(200)).await;
            server.start().await;
        }
        let acknowledged: u64 = counting.join_all().await.into_iter().sum();
        let record = store(&server).read(&Place::default(), "count").await.unwrap().unwrap();
        let counted: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
        assert!(acknowledged > 20, "{acknowledged}");
        assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    });
}

#[test]
fn a_watch_hears_of_the_end_of_its_server_and_goes_on_from_where_it_was() {
    isolated_for(LIMIT, &[Need::Etcd], || async {
        let mut server = Server::etcd(&[]).await;
        let ours = store(&server);
        let mut watch = ours.watch(watching(None)).await.unwrap();
        let first = version(&ours, write("a", "1")).await;
        assert_eq!(next(&mut watch).await.unwrap().version, first);
        server.kill();
        let error = next(&mut watch).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        let begun = Instant::now();
        let error = ours.apply(write("a", "lost").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.detail().contains(&server.address()), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        server.start().await;
        while ours.apply(write("b", "2").into()).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        let mut watch = ours.watch(watching(Some(first))).await.unwrap();
        let event = next(&mut watch).await.unwrap();
        assert_eq!(event.key, "b", "nothing was lost, and nothing is told twice");
        // One that stands still is no better than none.
        server.signal("STOP");
        let begun = Instant::now();
        let error = ours.apply(write("a", "late").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
        let error = ended.expect("a watch hears of it").unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        server.signal("CONT");
    });
}

#[test]
fn what_ends_while_its_server_is_away_is_told_once_it_is_back() {
    isolated_for(LIMIT, &[Need::Etcd], || async {
        let mut server = Server::etcd(&[]).await;
        let ours = store(&server);
        let change = write("a", "1").expires_in(Duration::from_secs(2));
        let first = version(&ours, change).await;
        server.kill();
        sleep(Duration::from_secs(3)).await;
        server.start().await;
        let begun = Instant::now();
        while ours.read(&Place::default(), "a").await.ok() != Some(None) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it ends");
            sleep(Duration::from_millis(100)).await;
        }
        let mut watch = ours.watch(watching(Some(first))).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().record, None);
        let change = write("a", "2").only_if(Condition::Version(first));
        let error = ours.apply(change.into()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Conflict), "{error}");
    });
}

#[test]
fn a_cluster_goes_on_without_any_one_of_its_servers() {
    isolated_for(LIMIT, &[Need::Etcd], || async {
        let mut servers = Server::etcd_cluster().await;
        let addresses: Vec<_> = servers.iter().map(Server::address).collect();
        let connect = || Etcd::new("etcd", &addresses.join(",")).unwrap();
        let ours = connect();
        let begun = Instant::now();
        while ours.apply(write("a", "0").into()).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the cluster begins");
            sleep(Duration::from_millis(100)).await;
        }
        let until = Instant::now() + Duration::from_secs(24);
        let mut counting = JoinSet::new();
        for _ in 0..4 {
            counting.spawn(count(connect(), until));
        }
        // One of them leads.
        for server in &mut servers {
            sleep(Duration::from_secs(1)).await;
            server.kill();
            let killed = Instant::now();
            while ours.apply(write("a", "1").into()).await.is_err() {
                assert!(killed.elapsed() < Duration::from_secs(15), "two of three go on");
                sleep(Duration::from_millis(50)).await;
            }
            server.start().await;
            sleep(Duration::from_secs(2)).await;
        }
        let acknowledged: u64 = counting.join_all().await.into_iter().sum();
        let record = connect().read(&Place::default(), "count").await.unwrap().unwrap();
        let counted: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
        assert!(acknowledged > 20, "{acknowledged}");
        assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    });
}
