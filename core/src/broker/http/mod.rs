//! go-micro's default broker: subscribers are nodes of the registry, and messages are posted to them (wire reference 6.3).
//!
//! There is nothing to install, and Go programs with go-micro v2 are reached as they are. It promises little: a message is kept in
//! memory until its subscribers have accepted it, at most 64 for each topic, and what happens to it afterwards is theirs.

mod connections;
mod send;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use self::connections::Connections;
use self::send::{BROADCAST, SERVICE, deliver, subscribers};
use self::serve::{Listening, Subscriptions, listen};
use super::{Abilities, Broker, Deliveries, Delivery, Message, Subscription};
use crate::directory::Cache;
use crate::error::{Code, Error, Result};
use crate::registry::{Node, Registry, Service};

/// How long a registry keeps a subscription without news, and how often it gets some.
const TTL: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(30);
/// Bytes of a message: what subscribers of this kind accept.
const MESSAGE_BYTES: usize = 4 << 20;
/// Messages of a topic that are kept for subscribers that cannot be reached.
const INBOX: usize = 64;
/// Those that are sent at once.
const BATCH: usize = 8;
/// How long one that cannot be reached is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// go-micro's default broker. Clones are handles on the same listener and the same messages.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    /// Where messages are taken.
    listen: String,
    registry: OnceLock<Cache>,
    listening: tokio::sync::Mutex<Option<Listening>>,
    subscriptions: Arc<Subscriptions>,
    /// What this process has registered, by node.
    local: Mutex<BTreeMap<String, Service>>,
    inboxes: Mutex<HashMap<String, Inbox>>,
    connections: Connections,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<Message>,
    /// Somebody sends them.
    is_sending: bool,
}

impl Http {
    /// Takes messages at a free port of this machine alone, as go-micro does.
    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// Takes messages at this address, which publishers reach: `host:port`.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            shared: Arc::new(Shared {
                listen: address.into(),
                registry: OnceLock::new(),
                listening: tokio::sync::Mutex::default(),
                subscriptions: Arc::default(),
                local: Mutex::default(),
                inboxes: Mutex::default(),
                connections: Connections::default(),
            }),
        }
    }

    /// As the URL `http://` and what follows says.
    pub(super) fn from_url_path(rest: &str) -> Result<Self> {
        match rest.trim_end_matches('/') {
            "" => Ok(Self::new()),
            address if address.contains(['/', '?', '@']) => Err(Error::invalid_argument(format!(
                "http://{rest}: write http://host:port, where messages are taken"
            ))),
            address if address.contains(':') => Ok(Self::at(address)),
            host => Ok(Self::at(format!("{host}:0"))),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn registry(&self) -> Result<&Cache> {
        self.registry.get().ok_or_else(|| {
            Error::failed_precondition(
                "the http broker has no registry: give it to a service or a client, which have one",
            )
        })
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<String, Inbox>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<String, (String, mpsc::Sender<Delivery>)>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local(&self) -> MutexGuard<'_, BTreeMap<String, Service>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits of a topic, the oldest first, until there is nothing more or a subscriber cannot be reached.
    async fn send(&self, topic: &str) -> Result<()> {
        loop {
            let batch: Vec<Message> = match self.inboxes().get(topic) {
                Some(inbox) => inbox.messages.iter().take(BATCH).cloned().collect(),
                None => return Ok(()),
            };
            if batch.is_empty() {
                return Ok(());
            }
            let known = match self.registry()?.resolve(SERVICE).await {
                Ok(snapshot) => Some(snapshot),
                Err(error) if error.code() == Code::NotFound || error.reason().is_some() => None,
                Err(error) => return Err(error),
            };
            let known = known.iter().flat_map(|snapshot| snapshot.nodes());
            let subscribed = subscribers(topic, known, self.local().values());
            for message in batch {
                deliver(&message, &subscribed, &self.connections).await?;
                if let Some(inbox) = self.inboxes().get_mut(topic) {
                    inbox.messages.pop_front();
                }
            }
        }
    }

    /// Sends, once; whoever comes meanwhile is sent along.
    async fn send_alone(self: &Arc<Self>, topic: &str) {
        {
            let mut inboxes = self.inboxes();
            let Some(inbox) = inboxes.get_mut(topic) else { return };
            if std::mem::replace(&mut inbox.is_sending, true) {
                return;
            }
        }
        let sent = self.send(topic).await;
        let mut inboxes = self.inboxes();
        let Some(inbox) = inboxes.get_mut(topic) else { return };
        match sent {
            Ok(()) if inbox.messages.is_empty() => {
                inboxes.remove(topic);
            }
            outcome => {
                inbox.is_sending = false;
                let waiting = inbox.messages.len();
                drop(inboxes);
                if let Err(error) = outcome {
                    tracing::warn!(topic, waiting, %error, "messages wait for their subscribers");
                }
                self.send_later(topic.to_owned());
            }
        }
    }

    fn send_later(self: &Arc<Self>, topic: String) {
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(AGAIN).await;
            if let Some(shared) = shared.upgrade() {
                let again: crate::middleware::BoxFuture<()> =
                    Box::pin(async move { shared.send_alone(&topic).await });
                again.await;
            }
        });
    }
}

#[async_trait]
impl Broker for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn meet(&self, registry: &Arc<dyn Registry>) {
        self.shared.registry.get_or_init(|| Cache::new(registry.clone()));
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(self.name(), self.abilities())?;
        if message.body.len() > MESSAGE_BYTES {
            return Err(Error::invalid_argument(format!(
                "a message to {} has {} bytes, and the http broker carries {MESSAGE_BYTES} at most: publish where the rest is, or \
                 use another broker, such as durable://",
                message.topic,
                message.body.len()
            )));
        }
        self.shared.registry()?;
        let topic = message.topic.clone();
        {
            let mut inboxes = self.shared.inboxes();
            let inbox = inboxes.entry(topic.clone()).or_default();
            if inbox.messages.len() >= INBOX {
                return Err(Error::resource_exhausted(format!(
                    "{INBOX} messages of {topic} wait for subscribers that cannot be reached, and this one was not taken"
                )));
            }
            inbox.messages.push_back(message);
        }
        let shared = self.shared.clone();
        // Goes on when its publisher does not wait.
        let sending = tokio::spawn(async move { shared.send_alone(&topic).await });
        sending.await.map_err(|_| Error::internal("publishing ended before its time"))
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(self.name(), self.abilities())?;
        let registry = self.shared.registry()?.registry().clone();
        let address = {
            let mut listening = self.shared.listening.lock().await;
            let running = match listening.take() {
                Some(running) => running,
                None => listen(&self.shared.listen, self.shared.subscriptions.clone()).await?,
            };
            listening.insert(running).address
        };
        let Subscription { topic, queue, max_in_flight, .. } = subscription;
        // One for each, so that two of a process do not take each other's messages.
        let id = format!("{topic}-{}", uuid::Uuid::new_v4());
        let labels = [("broker", "http"), ("secure", "false"), ("topic", topic.as_str())];
        let node = Node {
            id: id.clone(),
            address: address.to_string(),
            metadata: labels.map(|(name, value)| (name.into(), value.into())).into(),
        };
        let mut record = Service::new(SERVICE, queue.as_deref().unwrap_or(BROADCAST));
        record.nodes.push(node);
        let (sender, messages) = mpsc::channel(max_in_flight);
        self.shared.subscriptions().insert(id.clone(), (topic, sender));
        // From here on, a failure undoes what was done.
        let mut subscribed = Subscribed {
            shared: self.shared.clone(),
            registry: registry.clone(),
            record: record.clone(),
            id,
            messages,
            _refreshing: None,
        };
        registry.register(&record, Some(TTL)).await?;
        self.shared.local().insert(subscribed.id.clone(), record.clone());
        let refreshing = tokio::spawn(async move {
            let mut times = interval(REFRESH);
            times.tick().await;
            loop {
                times.tick().await;
                if let Err(error) = registry.register(&record, Some(TTL)).await {
                    tracing::warn!(%error, "a subscription cannot be registered anew");
                }
            }
        });
        subscribed._refreshing = Some(AbortOnDropHandle::new(refreshing));
        Ok(Box::new(subscribed))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("listen", &self.shared.listen).finish_non_exhaustive()
    }
}

/// A subscription, registered for as long as it is held.
struct Subscribed {
    shared: Arc<Shared>,
    registry: Arc<dyn Registry>,
    record: Service,
    id: String,
    messages: mpsc::Receiver<Delivery>,
    _refreshing: Option<AbortOnDropHandle<()>>,
}

#[async_trait]
impl Deliveries for Subscribed {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        Ok(self.messages.recv().await)
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.shared.local().remove(&self.id);
        self.shared.subscriptions().remove(&self.id);
        let (registry, record) = (self.registry.clone(), std::mem::take(&mut self.record));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = registry.deregister(&record).await {
                    tracing::debug!(%error, "a subscription that ended stays registered for a while");
                }
            });
        }
    }
}
