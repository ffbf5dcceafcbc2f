//! Which keys of Redis hold what.

use micro::store::Place;
use redis::{Script, ScriptInvocation};

/// Changes that are kept for watches, about.
pub(super) const HISTORY: usize = 4096;
/// All keys of a store are in one slot, whatever comes before it.
const TAG: &str = "{micro:store}:";

/// The keys of one store.
#[derive(Debug)]
pub(super) struct Keys {
    base: String,
    /// The last version.
    pub(super) version: String,
    /// The stream of changes.
    pub(super) changes: String,
    /// The sorted set of ends, in milliseconds since 1970.
    ends: String,
    /// The sorted set of places that have records.
    pub(super) places: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}{TAG}{name}");
        Self {
            base: key(""),
            version: key("version"),
            changes: key("changes"),
            ends: key("ends"),
            places: key("places"),
        }
    }

    /// The key of a record.
    pub(super) fn record(&self, place: &Place, key: &str) -> String {
        format!("{}record:{place}/{key}", self.base)
    }

    /// The sorted set of the keys of a place.
    pub(super) fn keys(&self, place: &Place) -> String {
        format!("{}keys:{place}", self.base)
    }

    /// Runs a program that changes something.
    pub(super) fn call<'script>(&self, script: &'script Script) -> ScriptInvocation<'script> {
        let mut call = script.key(&self.version);
        call.key(&self.changes).key(&self.ends).key(&self.places);
        call.arg(&self.base).arg(HISTORY);
        call
    }
}
