//! What is kept beside lines.

use crate::store::Place;

/// The table of it.
pub(super) fn place() -> Place {
    Place::new(Place::default().database(), "sync").unwrap_or_default()
}
