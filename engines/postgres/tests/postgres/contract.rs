//! What every store promises.

use std::time::{Duration, Instant};

use micro::store::contract::{Subject, cases};
use micro_postgres::Postgres;
use micro_tests::postgres::Server;

/// Nothing stays open once nobody has the store.
async fn ended(server: &Server) {
    let open =
        || server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'micro'");
    let begun = Instant::now();
    while open() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} are open", open());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn keeps(server: &Server, scheme: &'static str, options: &str) {
    let rest = format!("shop@127.0.0.1:{}/postgres?{options}", server.port());
    for case in cases() {
        eprintln!("{scheme} {options} {}", case.name());
        let store = || Postgres::new(scheme, &rest).unwrap();
        case.run(Subject::new(store(), store())).await;
    }
    ended(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract_of_stores() {
    let name = "postgres_keeps_the_contract_of_stores";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    keeps(&server, "postgres", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_it_keeps_the_same_contract() {
    let name = "behind_a_pooler_it_keeps_the_same_contract";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    keeps(&server, "postgres", "pooler=true").await;
}

/// CockroachDB cannot be had everywhere: what is said to it is said to PostgreSQL, and held to what it documents by a list.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_sql_of_cockroach_it_keeps_the_same_contract() {
    let name = "with_the_sql_of_cockroach_it_keeps_the_same_contract";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    keeps(&server, "cockroach", "tables=public.roach").await;
}
