//! Our client, calling the suite's reference server, which also answers what no server should.

use micro_tests::conformance::suite::Run;
use micro_tests::{Need, isolated};

#[test]
fn the_client_speaks_grpc() {
    isolated(&[Need::ConnectConformance], || async {
        let program = env!("CARGO_BIN_EXE_conformance-client");
        let (tested, features) = ("client, gRPC", "client-grpc");
        Run { tested, features, mode: "client", program }.record().await;
    });
}
