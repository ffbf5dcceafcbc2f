//! What every broker promises.

use std::time::Duration;

use micro::broker::contract::{Subject, cases};
use micro_redis::Redis;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated_for};

#[test]
fn redis_keeps_the_contract_of_brokers() {
    isolated_for(Duration::from_secs(300), &[Need::Redis], || async {
        let server = Server::redis(&[]).await;
        for case in cases() {
            eprintln!("{}", case.name());
            let broker = || Redis::new("redis", &server.address()).unwrap();
            case.run(Subject::new(broker(), broker())).await;
        }
    });
}
