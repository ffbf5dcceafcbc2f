//! The terms of calls.

use std::sync::Arc;

use super::document::{Document, document};
use super::range;
use super::value::{Fields, Value};
use crate::client::{Call, CallOptions, ClientBuilder, Parent};
use crate::codec::Codec;
use crate::error::Result;
use crate::forward::{Credentials, Forward};
use crate::metadata::Metadata;
use crate::resilience::{Backoff, Retry};
use crate::selector::{self, Filter, Strategy};
use crate::transport::Compression;

/// The terms of calls, read once and set on any number of them.
///
/// ```
/// use micro::settings::CallSettings;
/// # async fn example(client: micro::Client) -> micro::Result<()> {
/// let settings = CallSettings::from_json(r#"{"timeout": "200ms", "filters": [{"version": "2"}]}"#)?;
/// let reply: micro::Raw =
///     client.call("greeter", "Greeter.Hello", micro::Raw::from("Ada")).settings(&settings).await?;
/// # Ok(())
/// # }
/// ```
///
/// | key | value |
/// |---|---|
/// | `timeout` | a duration for the whole call; `null` or `"none"` for ever |
/// | `metadata` | headers: an object of texts, or of lists of texts |
/// | `content_type` | such as `"application/grpc+json"` |
/// | `addresses` | a list of `"host:port"` to call instead of asking the registry |
/// | `filters` | a list of `{"version": "2"}`, `{"label": ["zone", "a"]}`, `{"endpoint": "A.B"}` |
/// | `strategy` | `"p2c"`, `"random"`, `"round_robin"` or `"hash"`; one for all calls with these settings |
/// | `key` | a text; calls with equal keys go to the same node |
/// | `idempotent` | whether repeating the call is harmless, whatever the endpoint says |
/// | `wait_for_ready` | `true`: waits within the deadline until the service has a node that takes connections |
/// | `retries` | attempts after the first |
/// | `retry` | `"safe"`, `"go_micro"`, `"on_error"`, which is the same, `"always"` or `"never"`: see [`Retry`] |
/// | `backoff` | `"jittered"`, `"go_micro"` or `"none"` |
/// | `compression` | `"gzip"`, `"zstd"` or `"none"` |
/// | `cached` | a duration: equal calls are answered with the reply for so long, without a node |
/// | `forward` | which headers of the call being served go on, see [`Forward`](crate::Forward): `"default"`, `"none"`, or an object of `only`, `except` and `credentials` (lists of names, `*` at their ends) and `credentials_to`, which is `"registry"`, `"anywhere"` or `"nowhere"` |
/// | `detached` | `true`: part of no inbound call, even inside a handler |
#[derive(Debug, Clone, Default)]
pub struct CallSettings(CallOptions);

impl Document for CallSettings {
    const NAME: &'static str = "call settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let settings = Self::take(&mut fields)?;
        fields.finish()?;
        Ok(settings)
    }
}

document!(CallSettings);

impl CallSettings {
    /// Takes the terms of calls out of a document that has others too.
    pub(super) fn take(fields: &mut Fields) -> Result<Self> {
        let timeout = |value| Value::unless_none(value, Value::duration);
        let retries = [
            ("safe", Retry::Safe),
            ("go_micro", Retry::GoMicro),
            ("on_error", Retry::GoMicro),
            ("always", Retry::Always),
            ("never", Retry::Never),
        ];
        Ok(Self(CallOptions {
            timeout: fields.read_or_null("timeout", timeout)?,
            metadata: fields.read("metadata", metadata)?.unwrap_or_default(),
            codec: fields.read("content_type", codec)?,
            addresses: fields.read("addresses", Value::texts)?.unwrap_or_default(),
            filters: fields.read("filters", filters)?.unwrap_or_default(),
            strategy: fields.read("strategy", strategy)?,
            key: fields.read("key", Value::text)?.map(String::into_bytes),
            idempotent: fields.read("idempotent", Value::flag)?,
            wait_for_ready: fields.read("wait_for_ready", Value::flag)?,
            retries: fields.read("retries", |value| value.number_in(&range::RETRIES))?,
            retry: fields.read("retry", |value| value.choice(&retries))?,
            backoff: fields.read("backoff", |value| value.choice(&backoffs()))?,
            compression: fields.read("compression", compression)?,
            cached: fields.read("cached", Value::duration)?,
            forward: fields.read("forward", forward)?.map(Arc::new),
            parent: fields
                .read("detached", Value::flag)?
                .and_then(|detached| detached.then_some(Parent::None)),
            ..CallOptions::new()
        }))
    }
}

impl From<&CallSettings> for CallOptions {
    fn from(settings: &CallSettings) -> Self {
        settings.0.clone()
    }
}

impl From<CallSettings> for CallOptions {
    fn from(settings: CallSettings) -> Self {
        settings.0
    }
}

impl CallOptions {
    /// Sets all that `settings` say, as if each were set here.
    pub fn settings(self, settings: &CallSettings) -> Self {
        self.options(settings)
    }
}

impl<In, Out> Call<In, Out> {
    /// Sets all that `settings` say, as if each were set here.
    pub fn settings(self, settings: &CallSettings) -> Self {
        self.options(settings)
    }
}

impl ClientBuilder {
    /// Sets all that `settings` say, as if each were set here.
    pub fn settings(self, settings: &CallSettings) -> Self {
        self.options(settings)
    }
}

/// Pauses by name.
pub(super) fn backoffs() -> [(&'static str, Backoff); 3] {
    [("jittered", Backoff::Jittered), ("go_micro", Backoff::GoMicro), ("none", Backoff::None)]
}

/// A compression by name; `none` sends messages as they are.
pub(super) fn compression(value: Value) -> Result<Option<Compression>> {
    value.choice(&[
        (Compression::Gzip.name(), Some(Compression::Gzip)),
        (Compression::Zstd.name(), Some(Compression::Zstd)),
        ("none", None),
    ])
}

fn metadata(value: Value) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    for (name, value) in value.entries()? {
        let path = value.path.clone();
        let values = match value.as_text() {
            Some(text) => vec![text.to_owned()],
            None => value.texts()?,
        };
        for value in values {
            metadata.append(&name, &value).map_err(|error| path.found(&error))?;
        }
    }
    Ok(metadata)
}

/// Which headers of an inbound call go on.
fn forward(value: Value) -> Result<Forward> {
    let path = value.path.clone();
    if !value.is_object() {
        return value.choice(&[("default", Forward::new()), ("none", Forward::nothing())]);
    }
    let mut fields = value.fields()?;
    let mut rule = Forward::new();
    if let Some(names) = fields.read("only", Value::texts)? {
        rule = names.iter().fold(rule.only_nothing(), |rule, name| rule.only(name));
    }
    for name in fields.read("except", Value::texts)?.unwrap_or_default() {
        rule = rule.except(&name);
    }
    for name in fields.read("credentials", Value::texts)?.unwrap_or_default() {
        rule = rule.credential(&name);
    }
    let reaches = [
        ("registry", Credentials::Registry),
        ("anywhere", Credentials::Anywhere),
        ("nowhere", Credentials::Nowhere),
    ];
    if let Some(to) = fields.read("credentials_to", |value| value.choice(&reaches))? {
        rule = rule.credentials(to);
    }
    fields.finish()?;
    rule.checked().map_err(|error| path.found(&error))
}

fn codec(value: Value) -> Result<Codec> {
    let path = value.path.clone();
    Codec::from_content_type(&value.text()?).map_err(|error| {
        let detail = error.detail();
        path.wrong(format!("{detail}: write for example \"application/grpc+json\""))
    })
}

fn strategy(value: Value) -> Result<Arc<dyn Strategy>> {
    let path = value.path.clone();
    selector::strategy(&value.text()?).map_err(|error| path.found(&error))
}

fn filters(value: Value) -> Result<Vec<Filter>> {
    value.list()?.into_iter().map(filter).collect()
}

fn filter(value: Value) -> Result<Filter> {
    let path = value.path.clone();
    let mut fields = value.fields()?;
    let version = fields.read("version", Value::text)?.map(Filter::Version);
    let endpoint = fields.read("endpoint", Value::text)?.map(Filter::Endpoint);
    let label = fields.read("label", |value| {
        let path = value.path.clone();
        let pair: Result<[String; 2], _> = value.texts()?.try_into();
        pair.map_err(|_| path.wrong("a label is its key and its value: [\"zone\", \"a\"]"))
    })?;
    let label = label.map(|[key, value]| Filter::Label(key, value));
    fields.finish()?;
    let mut given = [version, endpoint, label].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(filter), None) => Ok(filter),
        _ => Err(path.wrong("a filter has one of `version`, `label` and `endpoint`")),
    }
}
