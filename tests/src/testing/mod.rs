//! gRPC's own interop suite: its `grpc.testing.TestService` and every case that needs no cloud.
//!
//! * [`service`]: the service, on this framework
//! * [`client`]: the cases, as a client of this framework runs them against any server
//! * [`foreign`]: the servers and clients of other gRPC implementations
//! * [`cases`]: the cases by name, and what is said of those that are left out
//! * [`orca`]: the load reports that two of the cases ask for
//!
//! The cases are described in `doc/interop-test-descriptions.md` of the grpc repository. A server is known by its address alone, so
//! that the same cases try a server in any language.

pub mod cases;
pub mod client;
pub mod foreign;
pub mod orca;
pub mod service;

mod streams;

/// The messages of `proto/grpc/testing/test.proto`.
#[allow(missing_docs, reason = "generated; the proto files have the docs")]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/grpc.testing.rs"));
}

pub use messages::*;

/// The compiled proto files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/testing.bin"));

/// Sent by a client and returned in the headers.
pub const INITIAL: &str = "x-grpc-test-echo-initial";
/// Sent by a client and returned in the trailers.
pub const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
/// The largest message of any case, with room: `very_large_request` sends some megabytes.
pub const MAX_MESSAGE: usize = 32 << 20;

/// A payload of `size` zero bytes.
pub fn payload(size: usize) -> Payload {
    Payload { r#type: PayloadType::Compressable.into(), body: vec![0; size] }
}

/// A flag that is set to `value`, where being unset means something else.
pub fn flag(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// The status with code 2 that a request asked for.
fn expect_status(error: &micro::Error, message: &str) {
    assert_eq!((error.code(), error.detail()), (micro::Code::Unknown, message));
}
