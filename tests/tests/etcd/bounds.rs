//! What etcd bounds, and what other programs do to it.

use std::process::Command;
use std::time::Duration;

use micro::store::{Batch, Change, Condition, Fence, MAX_VALUE, Place, Query, Store};
use micro::{Code, Reason};
use micro_tests::servers::Server;
use micro_tests::{Need, isolated};
use tokio::time::sleep;

use super::{next, store, version, watching, write};

fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, ..Batch::default() }
}

#[test]
fn what_etcd_takes_no_more_of_is_refused_by_name() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let ours = store(&server);
        for size in [1_600_000, 2_500_000, MAX_VALUE] {
            let large = Change::write(Place::default(), "a", vec![0; size]);
            let error = ours.apply(large.into()).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::TooLarge), "{size}: {error}");
            assert!(error.detail().contains("--max-request-bytes"), "{error}");
        }
        let many = (0..129).map(|nth| write(&nth.to_string(), "1")).collect();
        let error = ours.apply(batch(many)).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::TooLarge), "{error}");
        assert!(error.detail().contains("--max-txn-ops"), "{error}");
    });
}

#[test]
fn a_change_is_told_by_its_place_from_others_of_its_batch() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let ours = store(&server);
        let begun = version(&ours, write("z", "0")).await;
        let all = (0..4).map(|nth| write(&nth.to_string(), "1")).collect();
        let versions = ours.apply(batch(all)).await.unwrap();
        // In the middle of a batch.
        let mut watch = ours.watch(watching(Some(versions[1]))).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().version, versions[2]);
        for (wrong, right) in [(1, 2), (3, 2)] {
            let change = |nth: usize| {
                Change::check(Place::default(), "2", Condition::Version(versions[nth]))
            };
            let error = ours.apply(change(wrong).into()).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::Conflict), "{error}");
            assert!(error.detail().contains(&versions[2].to_string()), "{error}");
            let both = vec![change(right), write("other", "1").only_if(Condition::Absent)];
            ours.apply(batch(both)).await.unwrap();
            version(&ours, Change::delete(Place::default(), "other")).await;
            let both = vec![change(wrong), write("other", "1").only_if(Condition::Absent)];
            let error = ours.apply(batch(both)).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::Conflict), "{error}");
        }
        // Deletions among others are in order.
        let changes = vec![
            write("0", "2"),
            Change::delete(Place::default(), "1"),
            Change::delete(Place::default(), "2"),
            write("3", "2"),
        ];
        let versions = ours.apply(batch(changes)).await.unwrap();
        let mut watch = ours.watch(watching(Some(versions[0] - 1))).await.unwrap();
        for version in versions {
            assert_eq!(next(&mut watch).await.unwrap().version, version);
        }
        let mut watch = ours.watch(watching(Some(begun))).await.unwrap();
        assert!(next(&mut watch).await.unwrap().version > begun);
    });
}

#[test]
fn what_was_compacted_is_told_as_gone() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[
            "--auto-compaction-mode",
            "revision",
            "--auto-compaction-retention",
            "1",
        ])
        .await;
        let ours = store(&server);
        let first = version(&ours, write("a", "0")).await;
        compact(&server, &ours).await;
        let error = ours.watch(watching(Some(first))).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
        // A revision that is not there, as after a restore of an old copy.
        let error = ours.watch(watching(Some(u64::MAX >> 2))).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::HistoryGone), "{error}");
        let last = version(&ours, write("a", "last")).await;
        let mut watch = ours.watch(watching(Some(last))).await.unwrap();
        let again = version(&ours, write("a", "again")).await;
        assert_eq!(next(&mut watch).await.unwrap().version, again);
    });
}

/// Writes until early revisions are compacted, which etcd does when it was asked for by its `etcdctl`, or by its clients.
async fn compact(server: &Server, ours: &micro_etcd::Etcd) {
    let mut last = 0;
    for nth in 0..10 {
        last = version(ours, write("a", nth.to_string())).await;
    }
    let revision = (last / 1024).to_string();
    let body = format!("{{\"revision\": \"{revision}\", \"physical\": true}}");
    let url = format!("http://{}/v3/kv/compaction", server.address());
    let done = Command::new("curl").args(["-sf", "-d", &body, &url]).status().unwrap();
    assert!(done.success(), "curl {url}");
}

#[test]
fn a_fence_costs_no_write_of_its_own_and_is_remembered() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let (one, other) = (store(&server), store(&server));
        let fenced = |tokens: &[u64], value: &str| {
            let fence = |token: &u64| Fence { lock: "leader".into(), token: *token };
            let fences = tokens.iter().map(fence).collect();
            Batch { changes: vec![write("a", value)], fences, ..Batch::default() }
        };
        for nth in 0..5 {
            one.apply(fenced(&[6], &nth.to_string())).await.unwrap();
        }
        other.apply(fenced(&[7], "new")).await.unwrap();
        let error = one.apply(fenced(&[6], "late")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::StaleToken), "{error}");
        assert!(error.detail().contains("since 7"), "{error}");
        let error = other.apply(fenced(&[8, 6], "late")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::StaleToken), "{error}");
        one.apply(fenced(&[u64::MAX - 1, 8], "last")).await.unwrap();
        let error = other.apply(fenced(&[9], "late")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::StaleToken), "{error}");
        let record = one.read(&Place::default(), "a").await.unwrap().unwrap();
        assert_eq!(record.value, "last");
    });
}

#[test]
fn leases_of_what_is_replaced_do_not_pile_up() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let ours = store(&server);
        let life = Duration::from_secs(3600);
        for nth in 0..40 {
            version(&ours, write("a", nth.to_string()).expires_in(life)).await;
            if nth % 3 == 0 {
                version(&ours, Change::delete(Place::default(), "a")).await;
            }
        }
        version(&ours, write("a", "stays")).await;
        let list = || {
            let url = format!("http://{}/v3/lease/leases", server.address());
            let told = Command::new("curl").args(["-sf", "-d", "{}", &url]).output().unwrap();
            assert!(told.status.success(), "curl {url}");
            String::from_utf8(told.stdout).unwrap().matches("\"ID\"").count()
        };
        let begun = std::time::Instant::now();
        while list() > 3 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{} leases are left", list());
            sleep(Duration::from_millis(50)).await;
        }
        // A lease that is used again ends no other record.
        version(&ours, write("b", "1").expires_in(life)).await;
        version(&ours, write("c", "1").expires_in(Duration::from_secs(2))).await;
        sleep(Duration::from_secs(4)).await;
        let left = ours.list(&Query::all(Place::default())).await.unwrap().records;
        let keys: Vec<_> = left.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
    });
}

#[test]
fn a_record_that_another_program_spoilt_is_told_by_name() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let ours = store(&server);
        // `/micro/store/record/micro/micro/a` and `spoilt`, as etcd's gateway takes them.
        let body =
            r#"{"key": "L21pY3JvL3N0b3JlL3JlY29yZC9taWNyby9taWNyby9h", "value": "c3BvaWx0"}"#;
        let url = format!("http://{}/v3/kv/put", server.address());
        let done = Command::new("curl").args(["-sf", "-d", body, &url]).output().unwrap();
        assert!(done.status.success(), "curl {url}");
        let error = ours.read(&Place::default(), "a").await.unwrap_err();
        assert_eq!(error.code(), Code::DataLoss, "{error}");
        assert!(error.detail().contains("`a`"), "{error}");
        version(&ours, write("a", "2")).await;
        assert!(ours.read(&Place::default(), "a").await.unwrap().is_some());
    });
}
