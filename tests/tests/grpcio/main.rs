//! Plain gRPC, against a stack that shares no code with ours or with go-micro's: Python's grpcio.
//!
//! * [`client`]: its client calls our service
//! * [`server`]: our client calls its server, at a fixed address

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

mod client;
mod server;
