//! The two sides of every measurement of `cargo xtask bench`.
//!
//! Each side is a program of its own, so that neither borrows the other's warm caches, threads or
//! allocator. What the programs of a pair share lives here: the message types, the runtime, the
//! way a server says it is ready and the load a client makes. Only the framework differs.

pub mod load;
pub mod runtime;
pub mod server;
pub mod stubs;

/// Messages and the tonic service of `bench.proto`, as a tonic user generates them.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod wire {
    tonic::include_proto!("bench");
}
