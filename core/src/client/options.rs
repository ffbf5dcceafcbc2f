//! What is said of a call, or of all calls of a client.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;

use super::seen::Seen;
use crate::codec::Codec;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::metadata::Metadata;
use crate::resilience::{Backoff, Retry};
use crate::selector::{Filter, Strategy};
use crate::settings::range;
use crate::transport::Compression;

/// Options of calls: a value that is put together once, and given to any number of calls, streams and clients.
///
/// Options start empty. Given to a call, they are laid on top of the client's: what they do not say stays as the
/// client has it. Metadata, addresses and filters add to those that are there. A call has a method for each of them
/// too; this type is for options that are made in one place and used in another.
///
/// A mistake, such as a wrong name of a header, is the error of the call that the options are given to.
///
/// ```no_run
/// # use std::time::Duration;
/// use micro::client::CallOptions;
/// # use micro::{Client, Json, Streaming};
/// # async fn example(client: Client) -> micro::Result<()> {
/// let options = CallOptions::new().timeout(Duration::from_millis(200)).metadata("tenant", "blue");
/// let hello: Json<String> =
///     client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).options(options.clone()).await?;
/// let numbers: Streaming<Json<u64>> =
///     client.server_stream("numbers", "Numbers.Count", Json(3)).options(options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until they are given to a call or a client"]
pub struct CallOptions {
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) metadata: Metadata,
    pub(crate) codec: Option<Codec>,
    pub(crate) addresses: Vec<String>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) strategy: Option<Arc<dyn Strategy>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) retries: Option<u32>,
    pub(crate) retry: Option<Retry>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) compression: Option<Option<Compression>>,
    pub(crate) parent: Option<Parent>,
    pub(crate) forward: Option<Arc<Forward>>,
    pub(crate) seen: Option<Seen>,
    pub(crate) cached: Option<Duration>,
    /// The service that was looked up for the addresses, where the client has done that by itself.
    pub(crate) found_for: Option<HeaderValue>,
    /// The reply counts among those that are held until its bytes are released.
    pub(crate) counted: bool,
    /// The first mistake.
    pub(crate) wrong: Option<Error>,
}

/// The inbound call that an outgoing one belongs to, where that is not the one its task is serving.
#[derive(Debug, Clone)]
pub(crate) enum Parent {
    This(Context),
    None,
}

impl CallOptions {
    /// Options that say nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time for the whole call, retries included. Unless set, it is what is left to the call being served, 5 s where that has
    /// no deadline or there is none, and no limit for streams, whatever the client has. A shorter deadline of the call being
    /// served wins.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Some(timeout));
        self
    }

    /// Waits for ever, unless the call being served has a deadline.
    pub fn no_timeout(mut self) -> Self {
        self.timeout = Some(None);
        self
    }

    /// Sends a header. Repeat it for several values under one name. On a call it replaces what the client sends under
    /// the name.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        let added = self.metadata.append(name, value);
        self.note(added);
        self
    }

    /// Sends all of these headers too, each value beside what its name has already. What a caller
    /// may not set is left out, and so is what belongs to the connection of an inbound call whose
    /// metadata is passed on; cookies and credentials in there are sent.
    pub fn metadata_all(mut self, metadata: Metadata) -> Self {
        let added = self.metadata.append_all(metadata);
        self.note(added);
        self
    }

    /// Says which headers of the call being served go on with this one, see [`Forward`].
    pub fn forward(mut self, rule: Forward) -> Self {
        let rule = rule.checked().map(|rule| self.forward = Some(Arc::new(rule)));
        self.note(rule);
        self
    }

    /// Chooses the codec by content type, for example `application/grpc+json`.
    pub fn content_type(mut self, content_type: &str) -> Self {
        let codec = Codec::from_content_type(content_type).map(|codec| self.codec = Some(codec));
        self.note(codec.map_err(|error| error.with_id("go.micro.client")));
        self
    }

    /// Calls this address (`host:port`, `https://host`) instead of asking the registry; given
    /// several times, attempts rotate over them.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Calls only nodes that meet this condition; several must all be met.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Chooses among nodes with this strategy.
    pub fn strategy(mut self, strategy: Arc<dyn Strategy>) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// Calls with equal keys go to the same node while the fleet stays the same, unless a strategy is chosen that
    /// heeds no keys.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Says whether repeating the call is harmless, whatever the endpoint says.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Whether a call waits, within its deadline, until its service has a node that takes connections; it fails at once
    /// unless set. For services that are about to come, or come back: a change of the registry wakes the call, and a
    /// node that refuses connections is tried again after a pause of up to a second. Neither counts as a retry.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = Some(wait);
        self
    }

    /// Attempts after the first, 2 unless set, 100 at most. An attempt that reached no node is made up for
    /// on another one without counting.
    pub fn retries(mut self, retries: u32) -> Self {
        self.note(range::RETRIES.number(retries));
        self.retries = Some(retries);
        self
    }

    /// Which failures are tried again; [`Retry::Safe`] unless set.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How long to wait between attempts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Retries exactly as go-micro v2 does: once, on codes 408 and 500, whatever the endpoint, after waits of its
    /// formula without jitter.
    pub fn go_micro_retries(self) -> Self {
        self.retry(Retry::GoMicro).backoff(Backoff::GoMicro).retries(1)
    }

    /// Compresses requests; those of a stream may be left out one by one.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(Some(compression));
        self
    }

    /// Sends requests as they are, whatever was set before.
    pub fn no_compression(mut self) -> Self {
        self.compression = Some(None);
        self
    }

    /// Makes the call part of this inbound one: its deadline, trace and metadata go on. Needed
    /// only on tasks the handler started; inside a handler it is so without being said.
    pub fn context(mut self, context: &Context) -> Self {
        self.parent = Some(Parent::This(context.clone()));
        self
    }

    /// Makes the call part of nothing, even inside a handler.
    pub fn detached(mut self) -> Self {
        self.parent = Some(Parent::None);
        self
    }

    /// Tells what the answer says around its messages, also when the call fails.
    pub fn seen(mut self, seen: &Seen) -> Self {
        self.seen = Some(seen.clone());
        self
    }

    /// Keeps the reply for this long, and answers equal calls of the client with it until then, without a node. Equal are calls of
    /// one endpoint with the same message, from callers with the same credentials and other metadata; ids of traces do not count.
    /// Failures are not kept, and streams are not either. For what may be old by this time, of answers that are the same for
    /// all who send the same. [`ClientBuilder::max_cached`](super::ClientBuilder::max_cached) bounds what is kept. Zero keeps
    /// nothing, whatever the client has.
    pub fn cached(mut self, time: Duration) -> Self {
        self.cached = Some(time);
        self
    }

    /// Says that the addresses are those of `service`, as the registry has them.
    pub(crate) fn found_for(mut self, service: &str) -> Self {
        self.found_for = HeaderValue::from_str(service).ok();
        self
    }

    /// For bindings that queue replies: one counts among those that the client holds until its bytes are released.
    #[doc(hidden)]
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Lays other options on top: as if each of them were set here.
    pub fn options(mut self, on_top: impl Into<Self>) -> Self {
        // In full, so that no option is left out.
        let Self {
            timeout,
            metadata,
            codec,
            addresses,
            filters,
            strategy,
            key,
            idempotent,
            wait_for_ready,
            retries,
            retry,
            backoff,
            compression,
            parent,
            forward,
            seen,
            cached,
            found_for,
            counted,
            wrong,
        } = on_top.into();
        self.timeout = timeout.or(self.timeout);
        if !metadata.is_empty() {
            let added = self.metadata.append_all(metadata);
            self.note(added);
        }
        self.codec = codec.or(self.codec);
        self.addresses.extend(addresses);
        self.filters.extend(filters);
        self.strategy = strategy.or(self.strategy);
        self.key = key.or(self.key);
        self.idempotent = idempotent.or(self.idempotent);
        self.wait_for_ready = wait_for_ready.or(self.wait_for_ready);
        self.retries = retries.or(self.retries);
        self.retry = retry.or(self.retry);
        self.backoff = backoff.or(self.backoff);
        self.compression = compression.or(self.compression);
        self.parent = parent.or(self.parent);
        self.forward = forward.or(self.forward);
        self.seen = seen.or(self.seen);
        self.cached = cached.or(self.cached);
        self.found_for = found_for.or(self.found_for);
        self.counted |= counted;
        self.note(wrong.map_or(Ok(()), Err));
        self
    }

    /// Keeps the first mistake.
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.wrong.get_or_insert(error);
        }
    }
}
