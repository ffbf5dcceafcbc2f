//! Which languages have a reader.

use std::path::Path;

use super::{Facade, c, go, node, python};
use crate::Outcome;

/// The façade of the language `key` in `sources`, where there is a reader for it.
pub(in crate::surface) fn of(key: &str, sources: &Path) -> Outcome<Option<Box<dyn Facade>>> {
    Ok(match key {
        "c" => Some(Box::new(c::Header::read(sources)?)),
        "go" => Some(Box::new(go::Module::read(sources)?)),
        "node" => Some(Box::new(node::Package::read(sources)?)),
        "python" => Some(Box::new(python::Package::read(sources)?)),
        _ => None,
    })
}
