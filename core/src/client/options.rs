//! The terms of one call.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;

use super::seen::Seen;
use crate::codec::Codec;
use crate::context::Context;
use crate::error::Result;
use crate::forward::Forward;
use crate::metadata::Metadata;
use crate::resilience::{Backoff, Retry};
use crate::selector::{Filter, Hash, Strategy};
use crate::transport::Compression;

/// The terms of one call: the client's, with the call's own on top.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// Time for the whole call, retries included; `None` for ever.
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: Metadata,
    pub(crate) codec: Option<Codec>,
    pub(crate) addresses: Vec<String>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) strategy: Option<Arc<dyn Strategy>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) idempotent: Option<bool>,
    /// Waits for a node instead of failing at once.
    pub(crate) wait_for_ready: bool,
    /// Attempts after the first.
    pub(crate) retries: u32,
    pub(crate) retry: Retry,
    pub(crate) backoff: Backoff,
    pub(crate) compression: Option<Compression>,
    pub(crate) context: Inherit,
    /// What goes on of the inbound call; `None` for the default rule.
    pub(crate) forward: Option<Arc<Forward>>,
    pub(crate) seen: Option<Seen>,
    /// The service that was looked up for the addresses, where the client has done that by itself.
    pub(crate) found_for: Option<HeaderValue>,
    /// The reply counts among those that are held until its bytes are released.
    pub(crate) counted: bool,
}

/// Which inbound call an outgoing one belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) enum Inherit {
    /// The one this task is serving, if it is serving one.
    #[default]
    Current,
    This(Context),
    Nothing,
}

impl Inherit {
    pub(crate) fn context(&self) -> Option<Context> {
        match self {
            Self::Current => Context::current(),
            Self::This(context) => Some(context.clone()),
            Self::Nothing => None,
        }
    }
}

impl Default for CallOptions {
    /// go-micro's request timeout of 5 s; two retries under the safe policy.
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(5)),
            metadata: Metadata::new(),
            codec: None,
            addresses: Vec::new(),
            filters: Vec::new(),
            strategy: None,
            key: None,
            idempotent: None,
            wait_for_ready: false,
            retries: 2,
            retry: Retry::Safe,
            backoff: Backoff::Jittered,
            compression: None,
            context: Inherit::Current,
            forward: None,
            seen: None,
            found_for: None,
            counted: false,
        }
    }
}

impl CallOptions {
    pub(crate) fn content_type(&mut self, content_type: &str) -> Result<()> {
        let codec = Codec::from_content_type(content_type);
        self.codec = Some(codec.map_err(|error| error.with_id("go.micro.client"))?);
        Ok(())
    }

    /// Calls with equal keys go to one node, by a strategy that heeds keys unless one is chosen.
    pub(crate) fn key(&mut self, key: Vec<u8>) {
        self.key = Some(key);
        self.strategy.get_or_insert_with(|| Arc::new(Hash::new()));
    }

    pub(crate) fn forward(&mut self, rule: Forward) -> Result<()> {
        self.forward = Some(Arc::new(rule.checked()?));
        Ok(())
    }

    /// Makes the call part of nothing.
    pub(crate) fn detach(&mut self) {
        self.context = Inherit::Nothing;
    }

    /// go-micro v2's own behaviour: one retry on codes 408 and 500, its formula without jitter.
    pub(crate) fn go_micro(&mut self) {
        self.retry = Retry::GoMicro;
        self.backoff = Backoff::GoMicro;
        self.retries = 1;
    }
}

/// Methods of every builder that holds [`CallOptions`], written once.
macro_rules! call_options {
    () => {
        /// Sends a header. Repeat it for several values under one name.
        pub fn metadata(mut self, name: &str, value: &str) -> Self {
            let added = self.options.metadata.append(name, value);
            self.note(added)
        }

        /// Sends all of these headers too, each value beside what its name has already. What a caller
        /// may not set is left out, and so is what belongs to the connection of an inbound call whose
        /// metadata is passed on; cookies and credentials in there are sent.
        pub fn metadata_all(mut self, metadata: crate::metadata::Metadata) -> Self {
            let added = self.options.metadata.append_all(metadata);
            self.note(added)
        }

        /// Says which headers of the call being served go on with this one, see [`crate::Forward`].
        pub fn forward(mut self, rule: crate::forward::Forward) -> Self {
            let set = self.options.forward(rule);
            self.note(set)
        }

        /// Sets all that `settings` say, as if each were set here.
        pub fn settings(mut self, settings: &crate::settings::CallSettings) -> Self {
            let applied = settings.apply(&mut self.options);
            self.note(applied)
        }

        /// Chooses the codec by content type, for example `application/grpc+json`.
        pub fn content_type(mut self, content_type: &str) -> Self {
            let chosen = self.options.content_type(content_type);
            self.note(chosen)
        }

        /// Calls this address (`host:port`, `https://host`) instead of asking the registry; given
        /// several times, attempts rotate over them.
        pub fn address(mut self, address: impl Into<String>) -> Self {
            self.options.addresses.push(address.into());
            self
        }

        /// Calls only nodes that meet this condition; several must all be met.
        pub fn filter(mut self, filter: crate::selector::Filter) -> Self {
            self.options.filters.push(filter);
            self
        }

        /// Chooses among nodes with this strategy.
        pub fn strategy(mut self, strategy: std::sync::Arc<dyn crate::selector::Strategy>) -> Self {
            self.options.strategy = Some(strategy);
            self
        }

        /// Whether a call waits, within its deadline, until its service has a node that takes connections; it fails at once
        /// unless set. For services that are about to come, or come back: a change of the registry wakes the call, and a
        /// node that refuses connections is tried again after a pause of up to a second. Neither counts as a retry.
        pub fn wait_for_ready(mut self, wait: bool) -> Self {
            self.options.wait_for_ready = wait;
            self
        }

        /// Attempts after the first, 2 unless set, 100 at most. An attempt that reached no node is made up for
        /// on another one without counting.
        pub fn retries(mut self, retries: u32) -> Self {
            let checked = crate::settings::range::RETRIES.number(retries);
            self.options.retries = retries;
            self.note(checked)
        }

        /// Which failures are tried again; [`crate::resilience::Retry::Safe`] unless set.
        pub fn retry(mut self, retry: crate::resilience::Retry) -> Self {
            self.options.retry = retry;
            self
        }

        /// How long to wait between attempts.
        pub fn backoff(mut self, backoff: crate::resilience::Backoff) -> Self {
            self.options.backoff = backoff;
            self
        }

        /// Retries exactly as go-micro v2 does: once, on codes 408 and 500, whatever the endpoint.
        pub fn go_micro_retries(mut self) -> Self {
            self.options.go_micro();
            self
        }

        /// Compresses requests; those of a stream may be left out one by one.
        pub fn compression(mut self, compression: crate::transport::Compression) -> Self {
            self.options.compression = Some(compression);
            self
        }

        /// Sends requests as they are, whatever was set before.
        pub fn no_compression(mut self) -> Self {
            self.options.compression = None;
            self
        }

        /// Time for the whole call, retries included; 5 s unless set. A shorter deadline of the
        /// call being served wins.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.options.timeout = Some(timeout);
            self
        }

        /// Waits for ever, unless the call being served has a deadline.
        pub fn no_timeout(mut self) -> Self {
            self.options.timeout = None;
            self
        }

        fn note(mut self, result: crate::error::Result<()>) -> Self {
            if let Err(error) = result {
                self.wrong.get_or_insert(error);
            }
            self
        }
    };
}
pub(super) use call_options;
