//! What tonic generates, on either side: its clients through our channel, its services on our server, and each with tonic's own.
//!
//! * [`greeter`]: the service, as a user of tonic writes it
//! * [`hall`]: where it is served, and how it is called
//! * [`shapes`]: one message or many each way, large, compressed, with metadata
//! * [`failures`]: statuses, deadlines, calls given up, names that are wrong
//! * [`fleet`]: several nodes, drain, options, what other calls have too
//! * [`server`]: what our server adds to a service of tonic

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

mod failures;
mod fleet;
mod greeter;
mod hall;
mod server;
mod shapes;
