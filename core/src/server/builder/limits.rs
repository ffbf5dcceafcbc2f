//! What a server bears, and for how long: limits, compression, the time it gives its peers.

use std::time::Duration;

use super::ServerBuilder;
use crate::error::{Error, Result};
use crate::resilience::Limiter;
use crate::settings::range;
use crate::transport::Compression;

impl ServerBuilder {
    /// Calls that may run at once, 16 384 unless set; more are answered `RESOURCE_EXHAUSTED`. A call has its place once its
    /// request is there; as many, and 1 024 at least, may wait for the end of theirs. The last eighth of either is shared by
    /// all connections: one that has its part of what is free gets no more while others are open.
    pub fn max_concurrent_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Refuses calls before they wait in line for too long, [`Limiter::adaptive`] unless set. The
    /// bound of [`ServerBuilder::max_concurrent_calls`] stays.
    pub fn limiter(mut self, limiter: Limiter) -> Self {
        self.limiter = limiter;
        self
    }

    /// Connections that may be open at once, 10 000 unless set, and no more than leave some of the open files that the system
    /// allows for (`ulimit -n`). Where there are as many, the one that has been without a call for longest is closed for each
    /// new one; where none is idle, new ones wait to be accepted.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.max_connections = Some(connections);
        self
    }

    /// Calls that may run at once on one connection, 1 000 unless set; HTTP/2 clients queue more.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.limits.max_streams = streams;
        self
    }

    /// Largest message accepted, in bytes, 4 MiB unless set; more ends in `RESOURCE_EXHAUSTED`.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Bytes of headers accepted per call, 64 KiB unless set.
    pub fn max_header_size(mut self, bytes: u32) -> Self {
        self.limits.max_headers = bytes;
        self
    }

    /// Compresses answers of 256 bytes and more for clients that can read it. Requests may be
    /// compressed in any case.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Lets web pages of `origin`, such as `https://app.example`, call this server from a browser
    /// (CORS); `*` is any origin. None may unless this is called, once for each.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// How often an idle connection is probed, 60 s unless set; a peer that does not answer within
    /// 20 s is dropped. `None` never probes.
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        self.limits.keepalive = interval;
        self
    }

    /// Tells clients to reconnect after about this long, so that load spreads over new nodes.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.limits.max_connection_age = Some(age);
        self
    }

    /// Bytes of replies a connection may keep by not taking them, 64 MiB unless set; further calls of
    /// that connection wait. Replies under 16 KiB are not counted.
    pub fn max_unsent_replies(mut self, bytes: usize) -> Self {
        self.limits.max_unsent = bytes;
        self
    }

    /// Bytes of request messages held at once, inflated, 256 MiB unless set: of those that are coming in, and of calls until
    /// their handlers are done, or have asked for the next message. What finds no room waits, and its caller too; after 5 s
    /// it is refused with `RESOURCE_EXHAUSTED`. A connection may hold as much as stays free for others. Four messages of
    /// [`ServerBuilder::max_message_size`] have room in any case, and messages under 16 KiB are not counted.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.limits.max_buffered = bytes;
        self
    }

    /// Bytes of [`ServerBuilder::max_buffered`] that one connection may hold, 64 MiB unless set; two messages of
    /// [`ServerBuilder::max_message_size`] have room in any case.
    pub fn max_buffered_per_connection(mut self, bytes: usize) -> Self {
        self.limits.max_buffered_per_connection = bytes;
        self
    }

    /// How long a peer may take for its TLS handshake, for its first bytes and for the head of each request once that has
    /// begun, 10 s each unless set; then its connection is closed.
    pub fn handshake_timeout(mut self, patience: Duration) -> Self {
        self.limits.handshake = patience;
        self
    }

    /// How long the message of a request may take to come, 30 s unless set, and a millisecond more for each of its bytes: a
    /// slow upload goes on, one that stands still ends in `DEADLINE_EXCEEDED`. In a stream it counts for each message that
    /// has begun.
    pub fn body_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a connection of HTTP/1.1 is kept open between requests, 75 s unless set, which is more than proxies keep
    /// theirs. Those of HTTP/2 are probed instead: see [`ServerBuilder::keepalive`].
    pub fn idle_timeout(mut self, patience: Duration) -> Self {
        self.limits.idle = patience;
        self
    }

    /// How long running calls may go on after a stop, 10 s unless set; [`Duration::MAX`] is as long as they take.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Refuses options that make no sense.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the option, its value and its range.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        range::MAX_CONCURRENT_CALLS.number(self.max_calls)?;
        limits.max_connections.map_or(Ok(()), |most| range::MAX_CONNECTIONS.number(most))?;
        range::MAX_CONCURRENT_STREAMS.number(limits.max_streams)?;
        range::MAX_MESSAGE_SIZE.number(self.max_message)?;
        range::MAX_HEADER_SIZE.number(limits.max_headers)?;
        range::MAX_UNSENT_REPLIES.number(limits.max_unsent)?;
        range::MAX_BUFFERED.number(limits.max_buffered)?;
        range::MAX_BUFFERED_PER_CONNECTION.number(limits.max_buffered_per_connection)?;
        range::KEEPALIVE.time(limits.keepalive)?;
        range::MAX_CONNECTION_AGE.time(limits.max_connection_age)?;
        range::HANDSHAKE_TIMEOUT.time(limits.handshake)?;
        range::BODY_TIMEOUT.time(self.patience)?;
        range::IDLE_TIMEOUT.time(limits.idle)?;
        self.limiter.check(self.max_calls)?;
        self.origins.iter().try_for_each(|origin| {
            range::origin(origin)
                .map_err(|why| Error::invalid_argument(format!("allow_origin: {why}")))
        })
    }
}
