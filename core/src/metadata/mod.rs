//! Headers of a call: names without case, values that may repeat, bytes under `-bin` names.
//!
//! go-micro's metadata is a map of strings whose keys change case on the way; gRPC's is a list
//! with lower-case names. [`Metadata`] is the latter and reads like the former: every lookup
//! ignores case, so `Micro-Trace-Id` and `micro-trace-id` are one key.

mod bin;
mod map;
mod writing;

pub(crate) use self::bin::decode;
pub use self::map::Metadata;
pub(crate) use self::writing::append;

#[cfg(test)]
mod tests;
