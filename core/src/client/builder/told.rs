//! What a client is made of, as a document would say it.

use std::fmt::Debug;

use super::ClientBuilder;
use crate::resilience::{Backoff, Retry};
use crate::settings::{HIDDEN, written};

impl ClientBuilder {
    /// What is set, by key, as a document has it.
    pub(crate) fn told(&self) -> Vec<(&'static str, String)> {
        let (dial, options) = (&self.dial, &self.options);
        let debug = |set: Option<&dyn Debug>| set.map(|set| format!("{set:?}"));
        let hidden = |set: bool| set.then(|| HIDDEN.to_owned());
        let none = || "none".to_owned();
        let all = [
            ("client.name", Some(self.name.to_string())),
            ("client.namespace", Some(self.namespace.to_string())),
            ("client.timeout", options.timeout.map(|time| time.map_or_else(none, written))),
            ("client.retries", options.retries.map(|retries| retries.to_string())),
            ("client.retry", options.retry.as_ref().map(retry)),
            ("client.backoff", options.backoff.as_ref().map(backoff)),
            ("client.strategy", options.strategy.as_ref().map(|chosen| chosen.name().to_owned())),
            ("client.key", hidden(options.key.is_some())),
            ("client.wait_for_ready", options.wait_for_ready.map(|wait| wait.to_string())),
            ("client.idempotent", options.idempotent.map(|is| is.to_string())),
            (
                "client.addresses",
                (!options.addresses.is_empty()).then(|| options.addresses.join(",")),
            ),
            ("client.filters", debug((!options.filters.is_empty()).then_some(&options.filters))),
            ("client.metadata", hidden(!options.metadata.is_empty())),
            (
                "client.content_type",
                options.codec.map(|codec| codec.grpc_content_type().to_owned()),
            ),
            (
                "client.compression",
                options.compression.map(|set| set.map_or_else(none, |set| set.name().to_owned())),
            ),
            ("client.forward", debug(options.forward.as_ref().map(|rule| rule as _))),
            ("client.detached", options.parent.is_some().then(|| "true".to_owned())),
            ("client.dial_timeout", Some(written(dial.timeout))),
            ("client.keepalive", dial.keepalive.map(written)),
            ("client.keepalive_timeout", Some(written(dial.keepalive_timeout))),
            ("client.idle_timeout", Some(dial.idle.map_or_else(none, written))),
            ("client.max_connections", Some(self.max_connections.to_string())),
            ("client.calls_per_connection", Some(self.sharing.calls.to_string())),
            ("client.max_connections_per_node", Some(self.sharing.connections.to_string())),
            ("client.max_connection_age", dial.age.map(written)),
            ("client.cached", options.cached.map(written)),
            ("client.max_cached", Some(self.max_cached.to_string())),
            ("client.max_message_size", Some(self.max_message.to_string())),
            ("client.max_buffered", Some(self.max_buffered.to_string())),
            ("client.tls.authority", hidden(dial.tls.is_some())),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

fn retry(retry: &Retry) -> String {
    let name = match retry {
        Retry::Safe => "safe",
        Retry::GoMicro => "go_micro",
        Retry::Never => "never",
        Retry::Always => "always",
        Retry::Custom(_) | Retry::Ask(_) => "custom",
    };
    name.to_owned()
}

fn backoff(backoff: &Backoff) -> String {
    let name = match backoff {
        Backoff::Jittered => "jittered",
        Backoff::GoMicro => "go_micro",
        Backoff::None => "none",
        Backoff::Custom(_) => "custom",
    };
    name.to_owned()
}
