//! Replies that a client keeps for a while: [`CallOptions::cached`](super::CallOptions::cached).
//!
//! The cache stands within all layers, next to the call and its retries, so that it sees what layers have put into the call. What is
//! kept are bytes: each caller reads a message of its own from them.

mod key;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use self::key::Key;
use self::store::Reply;
pub(super) use self::store::Store;
use super::handle::Client;
use super::layers::CallWay;

/// Bytes that a client keeps of replies unless told otherwise.
pub(super) const DEFAULT_MAX_CACHED: usize = 16 * 1024 * 1024;

/// A reply that a client keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct CachedReply {
    /// Service that was called.
    pub service: String,
    /// Endpoint that was called, as the caller named it.
    pub endpoint: String,
    /// 16 hexadecimal digits that name what was asked, and by whom.
    pub key: String,
    /// The message, in the codec of the call.
    pub message: Bytes,
    /// How long it is still kept.
    pub expires_in: Duration,
}

/// `call`, answered for `time` by what it has answered before.
pub(super) fn cached(client: &Client, time: Duration, call: CallWay) -> CallWay {
    let client = client.clone();
    CallWay::new(move |request| {
        let (client, call) = (client.clone(), call.clone());
        async move {
            let Some(key) = Key::of(&request, &client.0.options) else {
                return call.run(request).await;
            };
            if let Some(reply) = client.0.cached.get(&key, Instant::now()) {
                return Ok(reply.into_response());
            }
            let answer = call.run(request).await?;
            let now = Instant::now();
            // Past all times that the clock knows, it is not kept rather than for ever.
            if let (Some(reply), Some(expires)) = (Reply::of(&answer), now.checked_add(time)) {
                client.0.cached.keep(key, reply, now, expires);
            }
            Ok(answer)
        }
    })
}

impl Client {
    /// What is kept of replies, see [`CallOptions::cached`](super::CallOptions::cached). Each is an answer to one
    /// caller: do not show it to others.
    pub fn cached(&self) -> Vec<CachedReply> {
        self.0.cached.list(Instant::now(), |key, reply, expires_in| CachedReply {
            service: key.service.to_string(),
            endpoint: key.endpoint.to_string(),
            key: key.name(),
            message: reply.message.clone(),
            expires_in,
        })
    }
}
