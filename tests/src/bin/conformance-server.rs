//! The server that connectconformance tests.

#[tokio::main]
async fn main() {
    micro_tests::conformance::server::run().await;
}
