//! Our server, called by the suite's reference client over plain TCP, TLS and mutual TLS.

use micro_tests::conformance::suite::Run;
use micro_tests::{Need, isolated};

async fn passes(tested: &'static str, features: &'static str) {
    let program = env!("CARGO_BIN_EXE_conformance-server");
    Run { tested, features, mode: "server", program }.record().await;
}

#[test]
fn the_server_speaks_grpc() {
    isolated(&[Need::ConnectConformance], || passes("server, gRPC", "server-grpc"));
}

#[test]
fn the_server_speaks_grpc_web() {
    isolated(&[Need::ConnectConformance], || passes("server, gRPC-Web", "server-grpc-web"));
}

#[test]
fn the_server_speaks_connect_for_unary_calls() {
    isolated(&[Need::ConnectConformance], || {
        passes("server, Connect unary", "server-connect-unary")
    });
}

#[test]
fn the_server_speaks_connect_for_streams() {
    isolated(&[Need::ConnectConformance], || {
        passes("server, Connect streams", "server-connect-streams")
    });
}
