//! What has to happen in one piece, as programs that the server runs.

use redis::Script;

/// The programs of a store.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) apply: Script,
    pub(super) list: Script,
    pub(super) open: Script,
    pub(super) sweep: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let common = include_str!("common.lua");
        let changing = |own: &str| Script::new(&format!("{common}\n{own}"));
        Self {
            apply: changing(include_str!("apply.lua")),
            list: Script::new(include_str!("list.lua")),
            open: changing(include_str!("open.lua")),
            sweep: changing(include_str!("sweep.lua")),
        }
    }
}
