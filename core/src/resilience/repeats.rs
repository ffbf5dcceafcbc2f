//! What a call does beyond its first attempt, all of it under one bound.
//!
//! A request that was not looked at may be repeated without harm, except that nodes are asked once more. So what
//! costs no node a request is free: one that was never sent goes to another node once, and to another connection where that
//! which was to take it has served and was going away; the one that such a connection took along when it went is sent once
//! more. Everything else is paid from the [`Budget`], and waits.

use std::time::Duration;

use super::{Backoff, Budget, Failure, Retry};
use crate::error::{Error, Reach};

/// Nodes tried for one call because another could not be reached, or refused it.
const MAX_FAILOVERS: u32 = 8;

/// Connections that one call may find going away. Those that serve for a very short time can be several in a row.
const MAX_RECONNECTS: u32 = 4;

/// How far a failed attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// There was no connection to the node.
    Unreached,
    /// The connection was going away, and did not take the request along or may not have.
    Gone {
        /// Other calls were answered on it before.
        served: bool,
    },
    /// The node had it.
    Taken,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The call has failed.
    Fail,
    /// The same node once more, at once, by another connection.
    Reconnect,
    /// Another attempt, wherever the next choice falls, after this wait.
    Repeat(Duration),
}

/// How a call may be repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) retry: &'a Retry,
    pub(crate) retries: u32,
    pub(crate) backoff: &'a Backoff,
    pub(crate) budget: &'a Budget,
}

/// The repeats of one call.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    retries: u32,
    failovers: u32,
    reconnects: u32,
    /// One of the reconnects was for a request that had been sent.
    resent: bool,
}

impl Repeats {
    /// The call has waited for something new, and may try all nodes again.
    pub(crate) fn begin_anew(&mut self) {
        self.failovers = 0;
    }

    /// What follows this failure. `elsewhere` says that there are nodes which the call did not try.
    pub(crate) fn next(
        &mut self,
        terms: Terms<'_>,
        failure: Failure<'_>,
        lost: Lost,
        elsewhere: bool,
    ) -> Next {
        self.unasked(failure.error, lost).unwrap_or_else(|| {
            self.decided(terms, terms.retry.allows(failure), failure.error, lost, elsewhere)
        })
    }

    /// What follows whatever the policy says.
    pub(crate) fn unasked(&mut self, error: &Error, lost: Lost) -> Option<Next> {
        if error.forbids_retry() {
            return Some(Next::Fail);
        }
        let went = error.reach() == Reach::Never && lost == (Lost::Gone { served: true });
        if went && self.reconnects < MAX_RECONNECTS && (error.is_unsent() || !self.resent) {
            self.resent |= !error.is_unsent();
            self.reconnects += 1;
            return Some(Next::Reconnect);
        }
        None
    }

    /// What follows where the policy has decided.
    pub(crate) fn decided(
        &mut self,
        terms: Terms<'_>,
        allowed: bool,
        error: &Error,
        lost: Lost,
        elsewhere: bool,
    ) -> Next {
        if !allowed {
            return Next::Fail;
        }
        let unseen = error.reach() == Reach::Never;
        let budgeted = terms.retry.is_budgeted();
        let fails_over = unseen && elsewhere && budgeted && self.failovers < MAX_FAILOVERS;
        if !fails_over && self.retries == terms.retries {
            return Next::Fail;
        }
        let free = fails_over && lost == Lost::Unreached && self.failovers == 0;
        if budgeted && !free && !terms.budget.withdraw() {
            return Next::Fail;
        }
        let wait = if free {
            self.failovers += 1;
            Duration::ZERO
        } else if fails_over {
            // Nodes that are left are not those that failed: there is no reason to wait longer each time.
            self.failovers += 1;
            terms.backoff.wait(1)
        } else {
            self.retries += 1;
            terms.backoff.wait(self.retries)
        };
        Next::Repeat(error.retry_after().unwrap_or(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    struct Call {
        repeats: Repeats,
        retry: Retry,
        budget: Budget,
    }

    impl Call {
        fn new(retry: Retry) -> Self {
            Self { repeats: Repeats::default(), retry, budget: Budget::new() }
        }

        fn fails(&mut self, error: &Error, lost: Lost, elsewhere: bool) -> Next {
            let Self { repeats, retry, budget } = self;
            let terms = Terms { retry, retries: 2, backoff: &Backoff::GoMicro, budget };
            repeats.next(terms, Failure { error, attempt: 0, idempotent: false }, lost, elsewhere)
        }
    }

    fn unseen() -> Error {
        Error::new(Code::Unavailable, "refused").with_reach(Reach::Never)
    }

    const UNIT: Duration = Duration::from_millis(100);
    const GONE: Lost = Lost::Gone { served: true };

    #[tokio::test(start_paused = true)]
    async fn the_first_node_that_cannot_be_reached_is_made_up_for_at_once() {
        let mut call = Call::new(Retry::Safe);
        assert_eq!(call.fails(&unseen(), Lost::Unreached, true), Next::Repeat(Duration::ZERO));
        assert_eq!(call.fails(&unseen(), Lost::Unreached, true), Next::Repeat(UNIT));
        assert_eq!(call.fails(&unseen(), Lost::Unreached, true), Next::Repeat(UNIT));
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_that_served_is_made_up_for_whatever_the_policy() {
        for retry in [Retry::Safe, Retry::Never, Retry::GoMicro] {
            let mut call = Call::new(retry.clone());
            assert_eq!(call.fails(&unseen(), GONE, false), Next::Reconnect);
            assert_ne!(call.fails(&unseen(), GONE, false), Next::Reconnect, "{retry:?}");
            for _ in 1..MAX_RECONNECTS {
                assert_eq!(call.fails(&unseen().unsent(), GONE, false), Next::Reconnect);
            }
            assert_ne!(call.fails(&unseen().unsent(), GONE, false), Next::Reconnect);
            let mut call = Call::new(retry);
            let unserved = Lost::Gone { served: false };
            assert_ne!(call.fails(&unseen(), unserved, false), Next::Reconnect);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_else_is_paid_for_and_waits() {
        for lost in [Lost::Taken, Lost::Gone { served: false }] {
            let mut call = Call::new(Retry::Safe);
            assert_eq!(call.fails(&unseen(), lost, true), Next::Repeat(UNIT), "{lost:?}");
            assert_eq!(call.fails(&unseen(), lost, false), Next::Repeat(UNIT), "{lost:?}");
            assert_eq!(call.fails(&unseen(), lost, false), Next::Repeat(6 * UNIT), "{lost:?}");
            assert_eq!(call.fails(&unseen(), lost, false), Next::Fail, "{lost:?}");
            while call.budget.withdraw() {}
            let mut late = Call { budget: call.budget, ..Call::new(Retry::Safe) };
            assert_eq!(late.fails(&unseen(), lost, true), Next::Fail, "{lost:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_forbids_a_retry_ends_the_call() {
        for retry in [Retry::Safe, Retry::GoMicro, Retry::custom(|_| true)] {
            let mut call = Call::new(retry);
            let error = unseen().without_retry();
            assert_eq!(call.fails(&error, Lost::Unreached, true), Next::Fail);
            assert_eq!(call.fails(&error, GONE, true), Next::Fail);
        }
    }
}
