//! The store over a real PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expected by failing, and which promise it is at"
)]

mod contract;
mod locks;
mod order;
mod refused;
mod trouble;

use std::sync::Arc;

use micro::store::Store;
use micro_postgres::Postgres;
use micro_tests::postgres::Server;

/// A handle with connections of its own.
fn store(server: &Server, options: &str) -> Arc<dyn Store> {
    let rest = format!("shop@127.0.0.1:{}/postgres{options}", server.port());
    Arc::new(Postgres::new("postgres", &rest).unwrap())
}
