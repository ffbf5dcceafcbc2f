//! What a host provides: a registry of its own, opened by a URL as any other.
//!
//! A question to one comes out of its queue as a call does, with the number of the operation for its method and the arguments
//! as the metadata [`ARGS`]; it is answered, cancelled and forgotten as calls are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use micro::registry::{self, Change, Registry, Service, Watcher};
use micro::server::Body;
use micro::{Code, Codec, Context, Error, Messages, Metadata, Shape, deadline_after};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::inbound::{Arriving, Host, serve};
use crate::operations;

/// Name of the metadata that has the arguments of a question, a JSON object.
pub const ARGS: &str = "micro-args-bin";

/// Areas of which a host can provide something, as the upper byte of their operations.
pub mod area {
    /// Registries: `registry.get` and so on.
    pub const REGISTRY: u32 = 0x02;
}

/// The scheme of what hosts provide.
const SCHEME: &str = "host";
/// How long a host may take for an answer, unless the deadline of a call that waits for it is nearer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest name, in bytes.
const LONGEST: usize = 128;

/// What is provided in this process, by area and name. Copied at each change and read without a lock, so that a child of a fork
/// can go on with it whatever other threads were doing.
static PROVIDED: ArcSwapOption<Names> = ArcSwapOption::const_empty();

type Names = BTreeMap<(u32, String), Arc<Host>>;

/// Provides something of `area` by a name until what this returns is dropped; questions go to `host`.
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for an area that cannot be provided and for a wrong name, `ALREADY_EXISTS` for one that
/// is taken.
pub(crate) fn provide(area: u32, name: &str, host: Host) -> Result<Guard> {
    if area != area::REGISTRY {
        return Err(Failure::argument(format!(
            "nothing can be provided in area {area:#04x}: there is {:#04x} for registries",
            area::REGISTRY
        )));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(good) {
        return Err(Failure::argument(format!(
            "{name:?} is no name: use 1 to {LONGEST} letters, digits, `-`, `_` and `.`"
        )));
    }
    Guard::new((area, name.to_owned()), Arc::new(host))
}

/// Makes the scheme known, once.
pub(crate) fn open_scheme() {
    // Taken means that it is known already: nothing else has it.
    let _ = registry::provide(SCHEME, |name| {
        find(area::REGISTRY, name)?;
        Ok(Arc::new(Hosted(name.to_owned())))
    });
}

fn find(area: u32, name: &str) -> micro::Result<Arc<Host>> {
    let provided = PROVIDED.load();
    let names = provided.as_deref();
    if let Some(host) = names.and_then(|names| names.get(&(area, name.to_owned()))) {
        host.shared.check().map_err(Failure::into_core)?;
        return Ok(host.clone());
    }
    let known: Vec<String> = names
        .into_iter()
        .flat_map(BTreeMap::keys)
        .filter(|(of, _)| *of == area)
        .map(|(_, name)| format!("{SCHEME}://{name}"))
        .collect();
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    Err(Error::unavailable(format!(
        "{SCHEME}://{name} is not provided in this process: provide it first (provided: {known})"
    )))
}

/// False for one that a parent of this process has left, or that is told nothing any more.
fn is_there(host: &Host) -> bool {
    host.shared.check().is_ok() && host.queue.is_open()
}

/// Keeps a name until it is dropped.
pub(crate) struct Guard {
    key: (u32, String),
    host: Arc<Host>,
}

impl Guard {
    fn new(key: (u32, String), host: Arc<Host>) -> Result<Self> {
        let before = PROVIDED.rcu(|names| {
            let mut names = names.as_deref().cloned().unwrap_or_default();
            let taken = names.get(&key).is_some_and(|other| is_there(other));
            if !taken {
                names.insert(key.clone(), host.clone());
            }
            Some(Arc::new(names))
        });
        let taken = before.and_then(|names| names.get(&key).cloned());
        if taken.is_some_and(|other| is_there(&other)) {
            let (_, name) = key;
            return Err(Error::already_exists(format!(
                "{SCHEME}://{name} is provided already: choose another name, or withdraw that one"
            ))
            .into());
        }
        Ok(Self { key, host })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        PROVIDED.rcu(|names| {
            let mut names = names.as_deref().cloned().unwrap_or_default();
            if names.get(&self.key).is_some_and(|host| Arc::ptr_eq(host, &self.host)) {
                names.remove(&self.key);
            }
            Some(Arc::new(names))
        });
    }
}

/// A registry that a host provides, by its name.
struct Hosted(String);

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}", self.0)
    }
}

impl Hosted {
    /// Asks the host, which answers by one message or by several.
    async fn ask(&self, operation: u32, shape: Shape, args: &Value) -> micro::Result<Body> {
        let name = operations::name(operation);
        let host = find(operation >> 8, &self.0)?;
        let mut metadata = Metadata::new();
        metadata.append_bin(ARGS, args.to_string().as_bytes())?;
        let own = deadline_after(PATIENCE);
        let until =
            Context::current().and_then(|call| call.deadline()).map_or(own, |at| at.min(own));
        // What is followed has no end; only its opening has.
        let deadline = (shape == Shape::Unary).then_some(until);
        let context = Context::of_question(&format!("{self:?}"), name, metadata, deadline);
        let body = Body::Message(Bytes::new());
        let call = Arriving { context, shape, codec: Codec::Json, body, delivered: None };
        let opened = async {
            let mut body = serve(Host::clone(&host), operation, call).await?.body;
            if let Body::Stream(messages) = &mut body {
                // The empty message that says so.
                messages.message().await?.ok_or_else(|| self.broken(name, "an end at once"))?;
            }
            Ok(body)
        };
        tokio::time::timeout_at(until, opened).await.unwrap_or_else(|_| {
            Err(Error::new(
                Code::DeadlineExceeded,
                format!("{self:?} did not answer {name} before the deadline"),
            ))
        })
    }

    async fn answer(&self, operation: u32, args: &Value) -> micro::Result<Bytes> {
        self.ask(operation, Shape::Unary, args).await?.into_message().await
    }

    async fn records(&self, operation: u32, args: &Value) -> micro::Result<Vec<Service>> {
        let answer = self.answer(operation, args).await?;
        self.read(operation, &answer)
    }

    fn read<T: DeserializeOwned>(&self, operation: u32, answer: &[u8]) -> micro::Result<T> {
        serde_json::from_slice(answer)
            .map_err(|error| self.broken(operations::name(operation), error))
    }

    fn broken(&self, name: &str, why: impl fmt::Display) -> Error {
        Error::internal(format!("{self:?} answered {name} with what cannot be read: {why}"))
    }
}

#[async_trait]
impl Registry for Hosted {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> micro::Result<()> {
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let args = json!({ "service": service, "ttl": ttl });
        self.answer(operations::REGISTRY_REGISTER, &args).await.map(drop)
    }

    async fn deregister(&self, service: &Service) -> micro::Result<()> {
        let args = json!({ "service": service });
        self.answer(operations::REGISTRY_DEREGISTER, &args).await.map(drop)
    }

    async fn get(&self, name: &str) -> micro::Result<Vec<Service>> {
        let found = self.records(operations::REGISTRY_GET, &json!({ "service": name })).await?;
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> micro::Result<Vec<Service>> {
        self.records(operations::REGISTRY_LIST, &json!({})).await
    }

    async fn watch(&self, service: Option<&str>) -> micro::Result<Watcher> {
        let args = service.map_or_else(|| json!({}), |service| json!({ "service": service }));
        let body = self.ask(operations::REGISTRY_WATCH, Shape::ServerStream, &args).await?;
        let mut changes: Messages = body.into_messages();
        let (sender, watcher) = Watcher::channel(service);
        let registry = Self(self.0.clone());
        let telling = tokio::spawn(async move {
            let ended = loop {
                let change = match changes.message().await {
                    Ok(Some(change)) => {
                        registry.read::<Change>(operations::REGISTRY_WATCH, &change)
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                match change.map(Arc::new) {
                    Ok(change) if sender.send(&change) => {}
                    // The reader left, or is too far behind; letting go of the sender tells it.
                    Ok(_) => return,
                    Err(error) => break error,
                }
            };
            tracing::warn!(registry = ?registry, error = %ended, "a watch broke off");
        });
        Ok(watcher.with_guard(tokio_util::task::AbortOnDropHandle::new(telling)))
    }

    fn name(&self) -> &'static str {
        SCHEME
    }
}
