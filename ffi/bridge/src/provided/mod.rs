//! What a host provides: a registry or a broker of its own, opened by a URL as any other.
//!
//! A question to one comes out of its queue as a call does, with the number of the operation for its method and the arguments
//! as the metadata [`ARGS`]; it is answered, cancelled and forgotten as calls are.

pub mod abilities;
pub mod area;
mod asked;
mod broker;
mod names;
mod registry;

pub use self::asked::ARGS;
pub use self::broker::PUBLISH;
pub(crate) use self::names::provide;

/// Makes the scheme known, once.
pub(crate) fn open_scheme() {
    registry::open_scheme();
    broker::open_scheme();
}
