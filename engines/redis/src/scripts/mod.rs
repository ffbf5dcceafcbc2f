//! What has to happen in one piece, as programs that the server runs.

use redis::Script;

/// The programs of a broker.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) delay: Script,
    pub(crate) move_due: Script,
    pub(crate) claim: Script,
    pub(crate) renew: Script,
    pub(crate) again: Script,
    pub(crate) release: Script,
    pub(crate) bury: Script,
    pub(crate) leave: Script,
    pub(crate) trim: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            publish: Script::new(include_str!("publish.lua")),
            delay: Script::new(include_str!("delay.lua")),
            move_due: Script::new(include_str!("move.lua")),
            claim: Script::new(include_str!("claim.lua")),
            renew: Script::new(include_str!("renew.lua")),
            again: Script::new(include_str!("again.lua")),
            release: Script::new(include_str!("release.lua")),
            bury: Script::new(include_str!("bury.lua")),
            leave: Script::new(include_str!("leave.lua")),
            trim: Script::new(include_str!("trim.lua")),
        }
    }
}
