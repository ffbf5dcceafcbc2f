//! gRPC's own interop suite against other implementations, both ways.
//!
//! * [`server`]: their clients run their cases against our server
//! * [`client`]: our client runs the cases against their servers, and against our own

#![allow(clippy::expect_used, reason = "a test says what it expected by failing")]

mod client;
mod server;

use std::time::Duration;

/// How long a whole suite may take.
const SUITE_LIMIT: Duration = Duration::from_secs(400);
