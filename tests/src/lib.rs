//! Whole-system proofs: interop with real peers and conformance.
//!
//! * [`namespace`]: a test in a network of its own, so that multicast meets only what the test started
//! * [`peer`]: a program driven over JSON lines, which dies with the test
//! * [`ours`]: the same Greeter as the peers', on this framework
//! * [`go`]: go-micro v2.9.1 and bare grpc-go
//! * [`postgres`]: PostgreSQL, as the system has it
//! * [`python`]: gRPC for Python
//! * [`h2spec`]: the conformance suite for HTTP/2
//! * [`host`]: other machines, and cables to them
//! * [`hostile`]: peers that break HTTP/2's rules on purpose, and the process they attack
//! * [`ledger`]: what a broker acknowledged, and what became of it
//! * [`servers`]: NATS and Redis
//! * [`suite`]: what a suite that others wrote said of us, for `docs/conformance.md`
//! * [`testing`]: gRPC's own interop suite, as a service and as a client
//! * [`toolchain`]: what a test needs from the machine, and what happens without it
//! * [`conformance`]: the service that connectconformance calls, and the programs around it
//! * [`greeter`]: the messages of `proto/greeter.proto`
//! * [`hall`]: what tonic generates of `proto/hall.proto`
//!
//! Everything here panics with a message for the reader of a failed test; it is not a library for others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expected by failing, and what it skipped by printing"
)]

pub mod conformance;
pub mod go;
pub mod h2spec;
pub mod host;
pub mod hostile;
pub mod ledger;
pub mod namespace;
pub mod ours;
pub mod peer;
pub mod postgres;
mod prepare;
pub mod python;
pub mod servers;
pub mod suite;
pub mod testing;
pub mod toolchain;

/// The messages of `proto/greeter.proto`, the service every peer speaks.
#[allow(missing_docs, reason = "generated; the proto file has the docs")]
pub mod greeter {
    /// The compiled proto file, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    include!(concat!(env!("OUT_DIR"), "/greeter.rs"));
}

/// What tonic generates of `proto/hall.proto`, unchanged.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod hall {
    /// The compiled proto file.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("hall");

    tonic::include_proto!("hall");
}

pub use namespace::{isolated, isolated_for};
pub use toolchain::Need;
