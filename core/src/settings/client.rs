//! What a client is told.

use std::time::Duration;

use super::CallSettings;
use super::document::{Document, document};
use super::range;
use super::tls::ClientTlsSettings;
use super::url::UrlSetting;
use super::value::Value;
use crate::client::{Client, ClientBuilder};
use crate::error::Result;

/// What a client is told: its own settings, and as defaults of its calls those of
/// [`CallSettings`] in the same object.
///
/// ```
/// use micro::settings::ClientSettings;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro::Result<()> {
/// let settings = ClientSettings::from_json(r#"{"registry": "memory://shop", "timeout": "2s"}"#)?;
/// let client = settings.builder()?.build()?;
/// assert_eq!(client.registry().name(), "memory");
/// # Ok(())
/// # }
/// ```
///
/// | key | value |
/// |---|---|
/// | `name` | sent as `micro-from-service` |
/// | `namespace` | sent as `micro-namespace`; empty sends none |
/// | `registry` | URL of a [registry](crate::registry::connect) |
/// | `broker` | URL of a [broker](crate::broker::connect) |
/// | `store` | URL of a [store](crate::store::connect) |
/// | `network` | URL of a [network](crate::network::connect) |
/// | `environment` | `false`: no variables are read |
/// | `dial_timeout` | a duration: how long making a connection may take |
/// | `keepalive` | a duration: how often connections with calls are probed |
/// | `keepalive_timeout` | a duration: how long a probed connection may be silent |
/// | `idle_timeout` | a duration: connections without calls for so long are closed; `null` or `"none"` keeps them |
/// | `max_connections` | a number, 1 or more: connections to all nodes together |
/// | `calls_per_connection` | a number, 1 or more: calls on each connection to a node before another one is made |
/// | `max_connections_per_node` | a number, 1 or more |
/// | `max_connection_age` | a duration: connections that are as old take no more calls, and are closed once they have none |
/// | `max_message_size`, `max_buffered`, `max_cached` | bytes |
/// | `tls` | `"system"`, or `{"authority": …, "certificate": …, "private_key": …, "server_name": "a.example", "policy": "prefer"}`: the authority may be `"system"`, certificate and key go together or are left out; each is PEM text or `{"file": path}`, which is read again when it changes. For the last two see [`ClientTls::server_name`](crate::ClientTls::server_name) and [`TlsPolicy`](crate::TlsPolicy) |
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    name: Option<String>,
    namespace: Option<String>,
    registry: Option<UrlSetting>,
    broker: Option<UrlSetting>,
    store: Option<UrlSetting>,
    network: Option<UrlSetting>,
    dial_timeout: Option<Duration>,
    keepalive: Option<Duration>,
    keepalive_timeout: Option<Duration>,
    idle_timeout: Option<Option<Duration>>,
    max_connections: Option<usize>,
    calls_per_connection: Option<usize>,
    max_connections_per_node: Option<usize>,
    max_connection_age: Option<Duration>,
    max_message_size: Option<usize>,
    max_buffered: Option<usize>,
    max_cached: Option<usize>,
    tls: Option<ClientTlsSettings>,
    environment: Option<bool>,
    call: CallSettings,
}

impl Document for ClientSettings {
    const NAME: &'static str = "client settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let settings = Self {
            name: fields.read("name", |value| value.text_in(&range::NAME))?,
            namespace: fields.read("namespace", |value| value.text_in(&range::NAMESPACE))?,
            registry: fields.read("registry", UrlSetting::read)?,
            broker: fields.read("broker", UrlSetting::read)?,
            store: fields.read("store", UrlSetting::read)?,
            network: fields.read("network", UrlSetting::read)?,
            dial_timeout: fields
                .read("dial_timeout", |value| value.time_in(&range::DIAL_TIMEOUT))?,
            keepalive: fields.read("keepalive", |value| value.time_in(&range::KEEPALIVE))?,
            keepalive_timeout: fields
                .read("keepalive_timeout", |value| value.time_in(&range::KEEPALIVE_TIMEOUT))?,
            idle_timeout: fields.read_or_null("idle_timeout", |value| {
                Value::unless_none(value, |value| value.time_in(&range::IDLE_TIMEOUT))
            })?,
            max_connections: fields
                .read("max_connections", |value| value.number_in(&range::MAX_CONNECTIONS))?,
            calls_per_connection: fields.read("calls_per_connection", |value| {
                value.number_in(&range::CALLS_PER_CONNECTION)
            })?,
            max_connections_per_node: fields.read("max_connections_per_node", |value| {
                value.number_in(&range::MAX_CONNECTIONS_PER_NODE)
            })?,
            max_connection_age: fields
                .read("max_connection_age", |value| value.time_in(&range::MAX_CONNECTION_AGE))?,
            max_message_size: fields
                .read("max_message_size", |value| value.number_in(&range::MAX_MESSAGE_SIZE))?,
            max_buffered: fields
                .read("max_buffered", |value| value.number_in(&range::MAX_BUFFERED))?,
            max_cached: fields.read("max_cached", |value| value.number_in(&range::MAX_CACHED))?,
            tls: fields.read("tls", ClientTlsSettings::read)?,
            environment: fields.read("environment", Value::flag)?,
            call: CallSettings::take(&mut fields)?,
        };
        fields.finish()?;
        Ok(settings)
    }
}

document!(ClientSettings);

impl ClientSettings {
    /// Reads the settings of the client inside a service, which has no registry of its own.
    pub(super) fn of_service(value: Value) -> Result<Self> {
        let path = value.path.clone();
        let settings = Self::read(value)?;
        if let Some(registry) = &settings.registry {
            return Err(registry.path().wrong(
                "the client of a service shares its registry: set `registry` of the service",
            ));
        }
        if let Some(broker) = &settings.broker {
            return Err(broker
                .path()
                .wrong("the client of a service shares its broker: set `broker` of the service"));
        }
        if let Some(store) = &settings.store {
            return Err(store
                .path()
                .wrong("the client of a service shares its store: set `store` of the service"));
        }
        if settings.environment.is_some() {
            return Err(path.field("environment").wrong(
                "the client of a service reads what its service reads: set `environment` of the service",
            ));
        }
        Ok(settings)
    }

    /// The defaults of its calls.
    pub(crate) fn call(&self) -> &CallSettings {
        &self.call
    }

    /// A client with these settings, as if the program had set each. Files that they name are read; the registry is opened
    /// when the client is made, or the service started.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a network, a file or a certificate that cannot be used;
    /// `FAILED_PRECONDITION` when the system's authorities are asked for and it has none.
    pub fn builder(self) -> Result<ClientBuilder> {
        self.apply(Client::builder())
    }

    pub(crate) fn apply(self, mut builder: ClientBuilder) -> Result<ClientBuilder> {
        if let Some(name) = self.name {
            builder = builder.name(&name);
        }
        if let Some(namespace) = self.namespace {
            builder = builder.namespace(&namespace);
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
        if let Some(network) = self.network {
            builder = builder.network(network.network()?);
        }
        if let Some(timeout) = self.dial_timeout {
            builder = builder.dial_timeout(timeout);
        }
        if let Some(interval) = self.keepalive {
            builder = builder.keepalive(interval);
        }
        if let Some(patience) = self.keepalive_timeout {
            builder = builder.keepalive_timeout(patience);
        }
        if let Some(idle) = self.idle_timeout {
            builder = builder.idle_timeout(idle);
        }
        if let Some(connections) = self.max_connections {
            builder = builder.max_connections(connections);
        }
        if let Some(calls) = self.calls_per_connection {
            builder = builder.calls_per_connection(calls);
        }
        if let Some(connections) = self.max_connections_per_node {
            builder = builder.max_connections_per_node(connections);
        }
        if let Some(age) = self.max_connection_age {
            builder = builder.max_connection_age(age);
        }
        if let Some(bytes) = self.max_message_size {
            builder = builder.max_message_size(bytes);
        }
        if let Some(bytes) = self.max_buffered {
            builder = builder.max_buffered(bytes);
        }
        if let Some(bytes) = self.max_cached {
            builder = builder.max_cached(bytes);
        }
        if let Some(tls) = self.tls {
            builder = builder.tls(tls.tls()?);
        }
        if let Some(read) = self.environment {
            builder = builder.environment(read);
        }
        Ok(builder.settings(&self.call))
    }
}
