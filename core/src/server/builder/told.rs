//! What a server is made of, as a document would say it.

use super::ServerBuilder;
use crate::settings::{HIDDEN, written};

impl ServerBuilder {
    /// What is set, by key, as a document has it.
    pub(crate) fn told(&self) -> Vec<(&'static str, String)> {
        let limits = &self.limits;
        let none = || "none".to_owned();
        let all = [
            ("address", self.address.clone()),
            ("grace", Some(written(self.grace))),
            ("tls.certificate", limits.tls.is_some().then(|| HIDDEN.to_owned())),
            ("max_concurrent_calls", Some(self.max_calls.to_string())),
            ("max_connections", limits.max_connections.map(|most| most.to_string())),
            ("max_concurrent_streams", Some(limits.max_streams.to_string())),
            ("max_message_size", Some(self.max_message.to_string())),
            ("max_header_size", Some(limits.max_headers.to_string())),
            ("max_unsent_replies", Some(limits.max_unsent.to_string())),
            ("max_buffered", Some(limits.max_buffered.to_string())),
            ("max_buffered_per_connection", Some(limits.max_buffered_per_connection.to_string())),
            ("compression", self.compression.map(|set| set.name().to_owned())),
            ("allow_origins", (!self.origins.is_empty()).then(|| self.origins.join(","))),
            ("keepalive", Some(limits.keepalive.map_or_else(none, written))),
            ("max_connection_age", limits.max_connection_age.map(written)),
            ("handshake_timeout", Some(written(limits.handshake))),
            ("body_timeout", Some(written(self.patience))),
            ("idle_timeout", Some(written(limits.idle))),
            ("limiter", Some(format!("{:?}", self.limiter))),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
