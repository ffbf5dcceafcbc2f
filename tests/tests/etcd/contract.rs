//! What every store promises, and all locks.

use std::time::Duration;

use micro::store::contract::{Subject, cases};
use micro::sync::contract as sync;
use micro_etcd::Etcd;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated_for};

#[test]
fn etcd_keeps_the_contract_of_stores() {
    isolated_for(Duration::from_secs(400), &[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        for case in cases() {
            eprintln!("{}", case.name());
            let rest = format!("{}?prefix=/shop", server.address());
            let store = || Etcd::new("etcd", &rest).unwrap();
            let mut subject = Subject::new(store(), store());
            subject.max_value = 1 << 20;
            subject.max_changes = 128;
            subject.tardiness = Duration::from_secs(3);
            case.run(subject).await;
        }
    });
}

#[test]
fn etcd_keeps_the_contract_of_locks() {
    isolated_for(Duration::from_secs(400), &[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        for case in sync::cases() {
            eprintln!("{}", case.name());
            let store = || Etcd::new("etcd", &server.address()).unwrap();
            let mut subject = sync::Subject::over(store(), store());
            subject.ttl = Duration::from_secs(2);
            subject.late = Duration::from_secs(3);
            case.run(subject).await;
        }
    });
}
