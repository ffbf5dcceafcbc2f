//! What go-micro v2 and we say to each other, with the defaults of both: gRPC and mDNS.
//!
//! The number in a test's name is a line of the interop checklist. Most lines have two directions and
//! a test for each: `go_…` starts with a Go caller, `our_…` with ours.
//!
//! * [`discovery`]: who finds whom, and when that changes
//! * [`calls`]: paths, content types, framing, headers, deadlines
//! * [`json`]: what either side makes of the other's JSON
//! * [`errors`]: what an error is on the other side, and when it is tried again
//! * [`streams`]: both kinds of end, and streams that are never half-closed
//! * [`messages`]: publishers and subscribers of the HTTP broker
//! * [`broker`]: the broker behind RPC, `go.micro.broker`
//! * [`telemetry`]: traces, caller, namespace and what is propagated
//! * [`gateway`]: our services behind go-micro's HTTP gateway
//! * [`tls`]: both sides with TLS

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

mod broker;
mod calls;
mod discovery;
mod errors;
mod gateway;
mod json;
mod messages;
mod nats;
mod streams;
mod telemetry;
mod tls;

use std::collections::HashMap;

use micro_tests::greeter::{HelloRequest, Home, Kind};

/// A request in which every kind of field has a value that JSON could get wrong.
fn full_request() -> HelloRequest {
    HelloRequest {
        name: "Ann <&> \"Ö\" 😈".into(),
        big: i64::MIN,
        kind: Kind::Stranger.into(),
        blob: vec![0, 0xfb, 0xff],
        tags: vec!["a".into(), String::new()],
        labels: HashMap::from([("k".into(), "v".into())]),
        ratio: -0.5,
        huge: u64::MAX,
        display_name: "snake_case".into(),
        home: Some(Home { street_name: "Allee".into(), house_number: -7 }),
        loud: true,
    }
}
