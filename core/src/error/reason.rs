//! Why something failed, for programs, where the code alone does not tell.

use std::fmt;

/// What kept a call from every handler, or a [store](crate::store) from a change, where the code alone does not tell.
///
/// It is this side's own finding about the service it called or the store it used, and travels no further: a handler that
/// answers with the failure of a call of its own sends code, text and go-micro's fields, and its caller
/// sees no reason. So the trouble of a service behind the service is never taken for that of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The service has no node now: it is not there yet, restarting, or gone. A call that may wait for
    /// one says so with `wait_for_ready`.
    NoNodes,
    /// The service has nodes, and the filters of the call allow none of them.
    NoMatch,
    /// The address belongs to another service now, which refused the call without running it.
    OtherService,
    /// The record is not what the change asked for: another was faster. Read it again.
    Conflict,
    /// The lock under which the change was to be made has been passed on.
    StaleToken,
    /// A key, a value or a batch is larger than is kept.
    TooLarge,
    /// Changes that were asked for are no longer known: list again, and watch from there.
    HistoryGone,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 7] = [
        Self::NoNodes,
        Self::NoMatch,
        Self::OtherService,
        Self::Conflict,
        Self::StaleToken,
        Self::TooLarge,
        Self::HistoryGone,
    ];

    /// The spelling in every language, for example `no_nodes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoNodes => "no_nodes",
            Self::NoMatch => "no_match",
            Self::OtherService => "other_service",
            Self::Conflict => "conflict",
            Self::StaleToken => "stale_token",
            Self::TooLarge => "too_large",
            Self::HistoryGone => "history_gone",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
