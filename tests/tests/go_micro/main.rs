//! What go-micro v2 and we say to each other, with the defaults of both: gRPC and mDNS.
//!
//! The number in a test's name is a line of the interop checklist. Most lines have two directions and
//! a test for each: `go_…` starts with a Go caller, `our_…` with ours.
//!
//! * [`discovery`]: who finds whom, and when that changes
//! * [`calls`]: paths, codecs, framing, headers, deadlines
//! * [`errors`]: what an error is on the other side, and when it is tried again
//! * [`streams`]: both kinds of end, and streams that are never half-closed
//! * [`telemetry`]: traces, caller, namespace and what is propagated

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

mod calls;
mod discovery;
mod errors;
mod streams;
mod telemetry;
