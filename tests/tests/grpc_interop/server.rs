//! Foreign clients run their cases against our server.

use micro_tests::testing::cases::{Known, Tally};
use micro_tests::testing::foreign::Foreign;
use micro_tests::testing::service;
use micro_tests::{Need, isolated_for};

use crate::SUITE_LIMIT;

/// Cases that both clients have.
const CASES: [&str; 19] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "pick_first_unary",
    "rpc_soak",
    "channel_soak",
    "orca_per_rpc",
    "orca_oob",
];

/// Cases that only grpc-java's client has.
const JAVA: [&str; 7] = [
    "client_compressed_unary",
    "client_compressed_unary_noprobe",
    "server_compressed_unary",
    "client_compressed_streaming",
    "client_compressed_streaming_noprobe",
    "server_compressed_streaming",
    "very_large_request",
];

async fn cases(foreign: Foreign, cases: &[&str], known: &[Known]) {
    let server = service::serve(|builder| builder).await;
    let mut tally = Tally::new(foreign.suite(), &foreign.version(), "server", known);
    for case in cases {
        let outcome = foreign.run(case, &server.address().to_string()).await;
        tally.count(case, outcome);
    }
    tally.finish();
}

#[test]
fn the_client_of_grpc_go_passes_with_our_server() {
    isolated_for(SUITE_LIMIT, &[Need::GrpcGo], || async {
        let compressed = "grpc-go's interop client does not have the case";
        let known = JAVA.iter().filter(|case| case.contains("compressed"));
        let known: Vec<_> = known.map(|case| (*case, compressed)).collect();
        cases(Foreign::Go, &CASES, &known).await;
    });
}

#[test]
fn the_client_of_grpc_java_passes_with_our_server() {
    isolated_for(SUITE_LIMIT, &[Need::GrpcJava], || async {
        let known = [(
            "cacheable_unary",
            "tests a caching proxy, which gRPC's own runs put in front of the server",
        )];
        cases(Foreign::Java, &[&CASES[..], &JAVA].concat(), &known).await;
    });
}
