//! Targets of the registries: what other processes and machines say.

pub(crate) use super::local::fuzzing::record;
pub(crate) use super::mdns::fuzzing::{dns, txt};
