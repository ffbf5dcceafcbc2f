//! Why a call never got to a handler, for programs.

use std::fmt;

/// What kept a call from every handler, where the code alone does not tell.
///
/// It is this side's own finding about the service it called, and travels no further: a handler that
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
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 3] = [Self::NoNodes, Self::NoMatch, Self::OtherService];

    /// The spelling in every language, for example `no_nodes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoNodes => "no_nodes",
            Self::NoMatch => "no_match",
            Self::OtherService => "other_service",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
