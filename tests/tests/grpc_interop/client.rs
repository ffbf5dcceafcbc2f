//! Our client runs the cases against a server, which is known by its address.

use std::collections::HashSet;

use micro_tests::testing::cases::{Known, OURS, Tally};
use micro_tests::testing::client::{connect, run};
use micro_tests::testing::foreign::Foreign;
use micro_tests::testing::service;
use micro_tests::{Need, isolated_for};

use crate::SUITE_LIMIT;

/// Runs every case that is not left out against the server at `address`.
async fn cases(mut tally: Tally, address: &str) {
    let client = connect(address);
    for case in OURS.into_iter().filter(|case| !tally.leaves_out(case)).collect::<Vec<_>>() {
        let outcome = run(case, client.clone(), address.to_owned()).await;
        tally.count(case, outcome);
    }
    tally.finish();
}

async fn against(foreign: Foreign, known: &[Known]) {
    let server = foreign.serve(10_000).await;
    let tally = Tally::new(foreign.suite(), &foreign.version(), "client", known);
    cases(tally, &server.address).await;
}

#[test]
fn our_client_passes_with_our_server() {
    isolated_for(SUITE_LIMIT, &[], || async {
        let server = service::serve(|builder| builder).await;
        let client = connect(&server.address().to_string());
        let mut failures = Vec::new();
        for case in OURS {
            let address = server.address().to_string();
            if let Err(why) = run(case, client.clone(), address).await {
                failures.push(format!("{case}: {why}"));
            }
        }
        assert_eq!(failures, Vec::<String>::new());
        assert!(server.stop().await, "every call has ended");
    });
}

#[test]
fn our_client_passes_with_the_server_of_grpc_go() {
    isolated_for(SUITE_LIMIT, &[Need::GrpcGo], || {
        against(
            Foreign::Go,
            &[
                ("client_compressed_unary", GO_COMPRESSION),
                ("client_compressed_streaming", GO_COMPRESSION),
                ("server_compressed_unary", GO_COMPRESSION),
                ("server_compressed_streaming", GO_COMPRESSION),
                ("pick_first_unary", NO_SERVER_ID),
            ],
        )
    });
}

#[test]
fn our_client_passes_with_the_server_of_grpc_java() {
    isolated_for(SUITE_LIMIT, &[Need::GrpcJava], || against(Foreign::Java, &[]));
}

const GO_COMPRESSION: &str = "grpc-go's interop server neither checks nor compresses messages";
const NO_SERVER_ID: &str = "this server does not tell its id, by which the case sees who answered";

#[test]
fn no_case_is_listed_twice() {
    assert_eq!(HashSet::from(OURS).len(), OURS.len());
}
