//! How a packet came.

use std::net::IpAddr;

use tokio::time::Instant;

/// Where a packet arrived. One socket keeps the order of packets, two do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// The group's port, where interfaces do not matter; `true` for IPv6.
    #[cfg(any(test, fuzzing))]
    Group(bool),
    /// The group's port on one interface, by its index; `true` for IPv6.
    Link(u32, bool),
    /// The port questions leave from; `true` for IPv6.
    Answers(bool),
    /// The same, from a link-local sender on the interface of that index.
    AnswersIn(u32),
}

impl Socket {
    /// True where answers arrive, whatever interface they were sent by.
    pub(super) fn is_answers(self) -> bool {
        matches!(self, Self::Answers(_) | Self::AnswersIn(_))
    }

    /// The zone of link-local senders; 0 is none.
    pub(super) fn scope(self) -> u32 {
        match self {
            Self::Link(index, true) | Self::AnswersIn(index) => index,
            _ => 0,
        }
    }
}

/// How a packet came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) socket: Socket,
    pub(super) from: IpAddr,
    pub(super) at: Instant,
}
