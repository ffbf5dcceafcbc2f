//! `micro`: services that find and call each other by name.
#![forbid(unsafe_code)]

pub mod error;
pub mod metadata;
pub mod registry;
pub mod selector;

pub use error::{Code, Error, Origin, Reach, Result};
pub use metadata::Metadata;
