//! The stages of a call, a file each: [`resolve`] the service to its nodes, [`route`] (what may be chosen), [`pick`] a node,
//! [`attempt`] the call on it, and [`retry`] where that is harmless. Streams walk the same stages; what they attempt is to get
//! the head of the answer, or to open the stream.
//!
//! How an attempt ended is told by [`outcome`] alone.

mod attempt;
#[cfg(feature = "tonic")]
mod framed;
mod headers;
mod layered;
mod outcome;
mod pick;
mod resolve;
mod retry;
mod route;
mod run;
mod wait;

pub(super) use attempt::{OpenStream, Received, ServerStream, Unary};
#[cfg(feature = "tonic")]
pub(super) use framed::{Begun, Framed, OpenFramed};
pub(super) use run::{Run, deadline, deadline_passed};
