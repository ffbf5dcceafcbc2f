//! What a limiter shows of its work.

/// What an endpoint's limiter is doing; see [`Server::loads`](crate::server::Server::loads).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Name of the endpoint.
    pub endpoint: Box<str>,
    /// Calls in its handler.
    pub in_flight: u32,
    /// Calls that may be in its handler at once; `None` while no queueing is seen.
    pub limit: Option<u32>,
    /// Calls refused so far.
    pub shed: u64,
}
