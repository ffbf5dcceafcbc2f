//! What every broker promises.

use std::time::Duration;

use micro::broker::contract::{Subject, cases};
use micro_nats::{JetStream, Nats};
use micro_tests::servers::Server;
use micro_tests::{Need, isolated_for};

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn core_nats_keeps_the_contract_of_brokers() {
    isolated_for(LIMIT, &[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        for case in cases() {
            eprintln!("{}", case.name());
            let broker = || Nats::new(&server.address()).unwrap();
            let mut subject = Subject::new(broker(), broker());
            subject.repeats_headers = false;
            subject.has_wildcards = true;
            case.run(subject).await;
        }
    });
}

#[test]
fn jetstream_keeps_the_contract_of_brokers() {
    isolated_for(LIMIT, &[Need::Nats], || async {
        let server = Server::nats(&[]).await;
        for case in cases() {
            eprintln!("{}", case.name());
            let broker = || JetStream::new(&server.address()).unwrap();
            let mut subject = Subject::new(broker(), broker());
            subject.has_wildcards = true;
            case.run(subject).await;
        }
    });
}
