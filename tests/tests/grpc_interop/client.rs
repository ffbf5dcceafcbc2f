//! Our client runs the cases against a server, which is known by its address.

use std::collections::HashSet;

use micro_tests::testing::cases::{Known, OURS, Tally};
use micro_tests::testing::client::{connect, run};
use micro_tests::testing::foreign::Foreign;
use micro_tests::testing::service;
use micro_tests::{Need, isolated_for};

use crate::SUITE_LIMIT;

/// Cases of the suite that our client does not have.
const ABSENT: [Known; 3] = [
    ("cacheable_unary", "tests a caching proxy, which gRPC's own runs put in front of the server"),
    ("orca_per_rpc", "our client does not balance by the load that servers report"),
    ("orca_oob", "our client does not balance by the load that servers report"),
];

/// Runs every case that is not left out against the server at `address`.
async fn cases(mut tally: Tally, address: &str) {
    let client = connect(address);
    for case in OURS {
        if tally.leaves_out(case) {
            continue;
        }
        let outcome = run(case, client.clone(), address.to_owned()).await;
        tally.count(case, outcome);
    }
    tally.finish();
}

async fn against(foreign: Foreign, known: &[Known]) {
    let server = foreign.serve(10_000).await;
    let known = [known, &ABSENT].concat();
    let tally = Tally::new(foreign.suite(), &foreign.version(), "client", &known);
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
                ("client_compressed_unary", NO_GZIP),
                ("client_compressed_unary_noprobe", NO_GZIP),
                ("client_compressed_streaming", NO_GZIP),
                ("client_compressed_streaming_noprobe", NO_GZIP),
                ("server_compressed_unary", NO_GZIP),
                ("server_compressed_streaming", NO_GZIP),
                ("very_large_request", "grpc-go's interop server takes 4 MiB, the case sends 10"),
                ("pick_first_unary", NO_SERVER_ID),
            ],
        )
    });
}

#[test]
fn our_client_passes_with_the_server_of_grpc_java() {
    isolated_for(SUITE_LIMIT, &[Need::GrpcJava], || {
        against(
            Foreign::Java,
            &[
                ("client_compressed_unary", NO_PROBE),
                ("client_compressed_streaming", NO_PROBE),
                (
                    "server_compressed_streaming",
                    "grpc-java's interop server compresses unary replies only",
                ),
                ("pick_first_unary", NO_SERVER_ID),
            ],
        )
    });
}

const NO_GZIP: &str = "grpc-go's interop server is built without gzip";
const NO_PROBE: &str = "this interop server does not check whether requests are compressed; the case runs without its probe";
const NO_SERVER_ID: &str =
    "this interop server does not tell its id, by which the case sees who answered";

#[test]
fn no_case_is_listed_twice() {
    assert_eq!(HashSet::from(OURS).len(), OURS.len());
}
