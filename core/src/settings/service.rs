//! What a service is told.

use std::time::Duration;

use super::ClientSettings;
use super::call::compression;
use super::document::{Document, document};
use super::range;
use super::tls::ServerTlsSettings;
use super::url::UrlSetting;
use super::value::{Fields, Value};
use crate::error::Result;
use crate::registry::Labels;
use crate::resilience::Limiter;
use crate::server::ServerBuilder;
use crate::service::{Probe, Service, ServiceBuilder};
use crate::transport::Compression;

/// What a service is told, with its server and its client.
///
/// | key | value |
/// |---|---|
/// | `name` | a text, instead of the one that the builder is given |
/// | `version`, `id` | texts |
/// | `metadata` | labels of the node: an object of texts |
/// | `address`, `advertise` | where it listens, such as `":8080"`, and what it registers instead |
/// | `registry` | URL of a [registry](crate::registry::connect) |
/// | `broker` | URL of a [broker](crate::broker::connect) |
/// | `store` | URL of a [store](crate::store::connect) |
/// | `register_ttl`, `register_interval` | durations; zero never forgets, and never renews |
/// | `register_timeout` | a duration, or `"none"`: for each request to the registry |
/// | `register_check` | `"tcp://host:port"`, which must take a connection, or `"http://host:port/path"`, which must answer a GET with 200 to 299: asked before each registration |
/// | `propagation`, `grace` | durations: the two parts of a stop; a `grace` of `"none"` has no end |
/// | `network` | URL of a [network](crate::network::connect) |
/// | `tls` | `{"certificate": …, "private_key": …, "authority": …}`, the last one to let in only its clients; each PEM text or `{"file": path}`, which is read again when it changes |
/// | `client` | [`ClientSettings`] of the client inside; its `registry`, `broker` and `store` are the service's |
/// | `max_concurrent_calls`, `max_connections`, `max_concurrent_streams` | how many at once |
/// | `max_message_size`, `max_header_size`, `max_unsent_replies`, `max_buffered`, `max_buffered_per_connection` | bytes |
/// | `compression` | `"gzip"`, `"zstd"` or `"none"`: how answers are sent |
/// | `allow_origins` | a list of origins whose web pages may call |
/// | `keepalive` | a duration; `null` or `"none"` never probes |
/// | `max_connection_age`, `handshake_timeout`, `body_timeout`, `idle_timeout` | durations |
/// | `limiter` | `"adaptive"`, `"off"` or `{"patience": duration, "at_least": calls}` |
/// | `settings` | a file with such a document, which comes before this one |
/// | `environment` | `false`: no variables are read |
/// | `quiet` | `true`: nothing is said at the start |
///
/// Signals are left to the program: see
/// [`handle_signals`](ServiceBuilder::handle_signals). For an example, see [the module](super).
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    name: Option<String>,
    version: Option<String>,
    id: Option<String>,
    metadata: Labels,
    advertise: Option<String>,
    registry: Option<UrlSetting>,
    broker: Option<UrlSetting>,
    store: Option<UrlSetting>,
    register_ttl: Option<Duration>,
    register_interval: Option<Duration>,
    register_timeout: Option<Duration>,
    register_check: Option<Probe>,
    propagation: Option<Duration>,
    network: Option<UrlSetting>,
    tls: Option<ServerTlsSettings>,
    client: ClientSettings,
    server: Server,
    settings: Option<String>,
    environment: Option<bool>,
    quiet: Option<bool>,
}

/// What concerns the server alone.
#[derive(Debug, Clone, Default)]
struct Server {
    address: Option<String>,
    grace: Option<Duration>,
    max_concurrent_calls: Option<usize>,
    max_connections: Option<usize>,
    max_concurrent_streams: Option<u32>,
    max_message_size: Option<usize>,
    max_header_size: Option<u32>,
    max_unsent_replies: Option<usize>,
    max_buffered: Option<usize>,
    max_buffered_per_connection: Option<usize>,
    compression: Option<Compression>,
    allow_origins: Vec<String>,
    keepalive: Option<Option<Duration>>,
    max_connection_age: Option<Duration>,
    handshake_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    limiter: Option<Limiter>,
}

impl Document for ServiceSettings {
    const NAME: &'static str = "service settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let settings = Self {
            name: fields.read("name", Value::text)?,
            version: fields.read("version", |value| value.text_in(&range::VERSION))?,
            id: fields.read("id", |value| value.text_in(&range::ID))?,
            metadata: fields.read("metadata", Value::labels)?.unwrap_or_default(),
            advertise: fields.read("advertise", Value::text)?,
            registry: fields.read("registry", UrlSetting::read)?,
            broker: fields.read("broker", UrlSetting::read)?,
            store: fields.read("store", UrlSetting::read)?,
            register_ttl: fields.read("register_ttl", Value::duration)?,
            register_interval: fields.read("register_interval", Value::duration)?,
            register_timeout: fields.read("register_timeout", Value::limit)?,
            register_check: fields.read("register_check", probe)?,
            propagation: fields.read("propagation", |value| value.time_in(&range::PROPAGATION))?,
            network: fields.read("network", UrlSetting::read)?,
            tls: fields.read("tls", ServerTlsSettings::read)?,
            client: fields.read("client", ClientSettings::of_service)?.unwrap_or_default(),
            server: Server::take(&mut fields)?,
            settings: fields.read("settings", Value::text)?,
            environment: fields.read("environment", Value::flag)?,
            quiet: fields.read("quiet", Value::flag)?,
        };
        fields.finish()?;
        Ok(settings)
    }
}

document!(ServiceSettings);

impl ServiceSettings {
    /// The service `name` with these settings, as if the program had set each. Files that they name are read.
    ///
    /// # Errors
    /// As [`ClientSettings::builder`].
    pub fn builder(self, name: &str) -> Result<ServiceBuilder> {
        self.apply(Service::builder(name), false)
    }

    /// Sets what the operator of the program says, over what the program does.
    ///
    /// # Errors
    /// As [`ServiceSettings::builder`].
    pub(crate) fn overrule(self, builder: ServiceBuilder) -> Result<ServiceBuilder> {
        self.apply(builder, true)
    }

    fn apply(self, mut builder: ServiceBuilder, operator: bool) -> Result<ServiceBuilder> {
        if let Some(name) = self.name {
            builder = builder.rename(name);
        }
        if let Some(file) = self.settings {
            builder = builder.document(file);
        }
        if let Some(read) = self.environment {
            builder = builder.environment(read);
        }
        if let Some(version) = self.version {
            builder = builder.version(version);
        }
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        for (key, value) in self.metadata {
            builder = builder.metadata(key, value);
        }
        if let Some(address) = self.advertise {
            builder = builder.advertise(address);
        }
        if let Some(broker) = self.broker {
            builder = builder.broker_url(broker);
        }
        if let Some(store) = self.store {
            builder = builder.store_url(store);
        }
        if let Some(registry) = self.registry {
            builder = builder.registry_url(registry);
        }
        if let Some(ttl) = self.register_ttl {
            builder = builder.register_ttl(ttl);
        }
        if let Some(interval) = self.register_interval {
            builder = builder.register_interval(interval);
        }
        if let Some(limit) = self.register_timeout {
            builder = builder.register_timeout(limit);
        }
        if let Some(delay) = self.propagation {
            builder = builder.propagation(delay);
        }
        if let Some(network) = self.network {
            builder = builder.network_url(&network)?;
        }
        if let Some(probe) = self.register_check {
            builder = builder.register_probe(probe);
        }
        if let Some(quiet) = self.quiet {
            builder = builder.quiet(quiet);
        }
        if let Some(tls) = self.tls {
            builder = builder.tls(tls.tls()?);
        }
        let (client, server) = (self.client, self.server);
        let builder = builder.server(|builder| server.apply(builder));
        builder.try_client(
            |builder| if operator { builder.overruled(client) } else { client.apply(builder) },
        )
    }
}

impl Server {
    fn take(fields: &mut Fields) -> Result<Self> {
        let keepalive = |value| Value::unless_none(value, |value| value.time_in(&range::KEEPALIVE));
        Ok(Self {
            address: fields.read("address", Value::text)?,
            grace: fields.read("grace", Value::limit)?,
            max_concurrent_calls: fields.read("max_concurrent_calls", |value| {
                value.number_in(&range::MAX_CONCURRENT_CALLS)
            })?,
            max_connections: fields
                .read("max_connections", |value| value.number_in(&range::MAX_CONNECTIONS))?,
            max_concurrent_streams: fields.read("max_concurrent_streams", |value| {
                value.number_in(&range::MAX_CONCURRENT_STREAMS)
            })?,
            max_message_size: fields
                .read("max_message_size", |value| value.number_in(&range::MAX_MESSAGE_SIZE))?,
            max_header_size: fields
                .read("max_header_size", |value| value.number_in(&range::MAX_HEADER_SIZE))?,
            max_unsent_replies: fields
                .read("max_unsent_replies", |value| value.number_in(&range::MAX_UNSENT_REPLIES))?,
            max_buffered: fields
                .read("max_buffered", |value| value.number_in(&range::MAX_BUFFERED))?,
            max_buffered_per_connection: fields.read("max_buffered_per_connection", |value| {
                value.number_in(&range::MAX_BUFFERED_PER_CONNECTION)
            })?,
            compression: fields.read("compression", compression)?.flatten(),
            allow_origins: fields.read("allow_origins", Value::origins)?.unwrap_or_default(),
            keepalive: fields.read_or_null("keepalive", keepalive)?,
            max_connection_age: fields
                .read("max_connection_age", |value| value.time_in(&range::MAX_CONNECTION_AGE))?,
            handshake_timeout: fields
                .read("handshake_timeout", |value| value.time_in(&range::HANDSHAKE_TIMEOUT))?,
            body_timeout: fields
                .read("body_timeout", |value| value.time_in(&range::BODY_TIMEOUT))?,
            idle_timeout: fields
                .read("idle_timeout", |value| value.time_in(&range::IDLE_TIMEOUT))?,
            limiter: fields.read("limiter", limiter)?,
        })
    }

    fn apply(self, mut builder: ServerBuilder) -> ServerBuilder {
        if let Some(address) = self.address {
            builder = builder.address(address);
        }
        if let Some(grace) = self.grace {
            builder = builder.grace(grace);
        }
        if let Some(calls) = self.max_concurrent_calls {
            builder = builder.max_concurrent_calls(calls);
        }
        if let Some(connections) = self.max_connections {
            builder = builder.max_connections(connections);
        }
        if let Some(streams) = self.max_concurrent_streams {
            builder = builder.max_concurrent_streams(streams);
        }
        if let Some(bytes) = self.max_message_size {
            builder = builder.max_message_size(bytes);
        }
        if let Some(bytes) = self.max_header_size {
            builder = builder.max_header_size(bytes);
        }
        if let Some(bytes) = self.max_unsent_replies {
            builder = builder.max_unsent_replies(bytes);
        }
        if let Some(bytes) = self.max_buffered {
            builder = builder.max_buffered(bytes);
        }
        if let Some(bytes) = self.max_buffered_per_connection {
            builder = builder.max_buffered_per_connection(bytes);
        }
        if let Some(compression) = self.compression {
            builder = builder.compression(compression);
        }
        if !self.allow_origins.is_empty() {
            builder = builder.allow_origins(self.allow_origins);
        }
        if let Some(interval) = self.keepalive {
            builder = builder.keepalive(interval);
        }
        if let Some(age) = self.max_connection_age {
            builder = builder.max_connection_age(age);
        }
        if let Some(patience) = self.handshake_timeout {
            builder = builder.handshake_timeout(patience);
        }
        if let Some(patience) = self.body_timeout {
            builder = builder.body_timeout(patience);
        }
        if let Some(patience) = self.idle_timeout {
            builder = builder.idle_timeout(patience);
        }
        if let Some(limiter) = self.limiter {
            builder = builder.limiter(limiter);
        }
        builder
    }
}

fn probe(value: Value) -> Result<Probe> {
    let path = value.path.clone();
    Probe::parse(&value.text()?).map_err(|error| path.found(&error))
}

fn limiter(value: Value) -> Result<Limiter> {
    if !value.is_object() {
        return value.choice(&[("adaptive", Limiter::adaptive()), ("off", Limiter::off())]);
    }
    let mut fields = value.fields()?;
    let mut limiter = Limiter::adaptive();
    if let Some(wait) = fields.read("patience", |value| value.time_in(&range::PATIENCE))? {
        limiter = limiter.patience(wait);
    }
    if let Some(calls) = fields.read("at_least", |value| value.number_in(&range::AT_LEAST))? {
        limiter = limiter.at_least(calls);
    }
    fields.finish()?;
    Ok(limiter)
}
