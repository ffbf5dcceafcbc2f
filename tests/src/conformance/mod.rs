//! connectconformance, the suite of the Connect authors for gRPC, gRPC-Web and Connect.
//!
//! The suite starts a program under test, tells it over stdin what to be and looks at what it does:
//!
//! * [`server`]: a server with [`service`], called by the suite's reference client
//! * [`client`]: a client that calls the suite's reference server as it is told
//! * [`suite`]: building the suite, running it and reading what it says

pub mod client;
pub mod server;
pub mod service;
pub mod suite;
mod wire;

pub use wire::{read, write};

/// The compiled proto file, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/conformance.bin"));

/// The messages of `proto/connectrpc/conformance/v1/conformance.proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the proto file has the docs")]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/connectrpc.conformance.v1.rs"));
}
