//! The client that connectconformance tests.

#[tokio::main]
async fn main() {
    micro_tests::conformance::client::run().await;
}
