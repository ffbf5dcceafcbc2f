//! A configuration in use.

use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::follow;
use super::layers::Layers;
use super::live::{Followed, Live};
use super::node::{Data, Node, same};
use super::origin::Origin;
use super::path::Path;
use super::snapshot::{Snapshot, Why};
use super::status::{Event, Status};
use super::value::Value;
use crate::error::{Error, Result};

/// The configuration of a program: what its sources say, merged, the later ones over the earlier. Clones are handles on the same one; sources
/// are followed until the last of them is dropped.
///
/// Reading waits for nothing. See [the module](super) for the whole.
#[derive(Clone)]
pub struct Config(Arc<Inner>);

struct Inner {
    layers: Arc<Layers>,
    sources: Vec<follow::Followed>,
    _following: Vec<AbortOnDropHandle<()>>,
}

impl Config {
    pub(super) fn new(
        layers: Arc<Layers>,
        sources: Vec<follow::Followed>,
        following: Vec<AbortOnDropHandle<()>>,
    ) -> Self {
        Self(Arc::new(Inner { layers, sources, _following: following }))
    }

    /// The value at a path such as `db.url`; an empty path is all of them.
    pub fn get(&self, path: impl Into<Path>) -> Value {
        self.0.layers.snapshot.load().get(path.into())
    }

    /// Reads the value at a path into a type.
    ///
    /// ```
    /// use micro::config::{Config, Memory, Secret};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Database {
    ///     url: String,
    ///     password: Secret<String>,
    ///     #[serde(default)]
    ///     replicas: Vec<String>,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
    /// let source = Memory::new(serde_json::json!({"db": {"url": "postgres://db", "password": 12345}}))?;
    /// let config = Config::builder().source(source).load().await?;
    /// let error = config.scan::<Database>("db").err().unwrap();
    /// assert_eq!(error.detail(), "db.password (memory): the secret is not of the type that is wanted");
    /// config.set("db.password", "12345")?;
    /// assert_eq!(config.scan::<Database>("db")?.url, "postgres://db");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the path, the origin and what was expected; `NOT_FOUND` where nothing is there and something is needed.
    pub fn scan<T: DeserializeOwned>(&self, path: impl Into<Path>) -> Result<T> {
        self.get(path).scan()
    }

    /// Reads the value at a path into a type now, and again with each change. A change under which it cannot be read is refused.
    ///
    /// # Errors
    /// As [`scan`](Self::scan), now.
    pub fn live<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        path: impl Into<Path>,
    ) -> Result<Live<T>> {
        self.0.layers.follow(|root| {
            let live = Live::new(path.into(), root)?;
            let cell = Arc::downgrade(live.cell());
            let followed: Weak<dyn Followed> = cell;
            Ok((live, followed))
        })
    }

    /// Why a path has its value: where it comes from, and what it overrode.
    ///
    /// ```
    /// use micro::config::{Config, Env, Memory};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
    /// let config = Config::builder()
    ///     .source(Memory::named("defaults", serde_json::json!({"port": 80}))?)
    ///     .source(Env::prefix("SHOP").with_variables([("SHOP_PORT", "8080")]))
    ///     .load()
    ///     .await?;
    /// let why = config.why("port");
    /// assert_eq!(why.to_string(), "port = 8080\n  from the variable SHOP_PORT: 8080\n  over defaults: 80");
    /// # Ok(()) }
    /// ```
    pub fn why(&self, path: impl Into<Path>) -> Why {
        self.0.layers.snapshot.load().why(path.into())
    }

    /// Watches the value at a path, from what it is now.
    pub fn watch(&self, path: impl Into<Path>) -> Watch {
        let version = self.0.layers.version.subscribe();
        let snapshot = Arc::clone(&self.0.layers.snapshot);
        let last = snapshot.load().get(path.into());
        Watch { version, snapshot, last }
    }

    /// Sets the value at a path, over all sources and for as long as the configuration is in use. It is there when this returns.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be written as JSON, for the empty path, and for what a check refuses; nothing is changed then.
    pub fn set(&self, path: impl Into<Path>, value: impl Serialize) -> Result<()> {
        let path = self.below(path.into())?;
        let json = serde_json::to_value(value)
            .map_err(|error| Error::invalid_argument(format!("{path}: {error}")))?;
        self.0.layers.set(&path, &Node::from_json(json, &Origin::new("the program")))
    }

    /// Takes the value at a path away, whatever sources say of it, for as long as the configuration is in use.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn del(&self, path: impl Into<Path>) -> Result<()> {
        let path = self.below(path.into())?;
        self.0.layers.set(&path, &Node::new(Data::Deleted, Origin::new("the program")))
    }

    fn below(&self, path: Path) -> Result<Path> {
        match path.keys().is_empty() {
            true => Err(Error::invalid_argument(
                "the whole configuration is not set at once: name a key",
            )),
            false => Ok(path),
        }
    }

    /// Reads every source again, now. What can be read is taken over, all at once.
    ///
    /// # Errors
    /// Those of sources that could not be read, a line each; what is wrong with what they say, which then changes nothing.
    pub async fn sync(&self) -> Result<()> {
        let read = join_all(self.0.sources.iter().map(follow::Followed::read)).await;
        let (mut documents, mut failed) = (Vec::new(), Vec::new());
        for (source, read) in self.0.sources.iter().zip(read) {
            match read {
                Ok(document) => documents.push((source.index, document)),
                Err(error) => {
                    self.0.layers.failed(source.index, &error);
                    failed.push(error);
                }
            }
        }
        let layers = Arc::clone(&self.0.layers);
        let taken = tokio::task::spawn_blocking(move || layers.take(documents)).await;
        taken.map_err(Error::unexpected)??;
        joined(&failed)
    }

    /// How it is doing: which sources fail, and what is wrong with what they say.
    pub fn status(&self) -> Status {
        self.0.layers.status()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events {
        Events(self.0.layers.events.subscribe())
    }
}

/// One error for several.
pub(super) fn joined(errors: &[Error]) -> Result<()> {
    let Some(first) = errors.first() else { return Ok(()) };
    let details: Vec<&str> = errors.iter().map(Error::detail).collect();
    Err(Error::new(first.code(), details.join("\n")))
}

/// Without values.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.sources.iter().map(|source| source.source.name()).collect();
        let version = self.0.layers.snapshot.load().version;
        f.debug_struct("Config").field("sources", &names).field("version", &version).finish()
    }
}

/// Changes of the value at a path.
#[derive(Debug)]
pub struct Watch {
    version: watch::Receiver<u64>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    last: Value,
}

impl Watch {
    /// Waits until the value is another than the last one that was seen, and says what it is now; one that has come and gone meanwhile is left out, the
    /// last one never. `None` when the configuration is dropped. Waiting may be given up at any time, and nothing is lost by it.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            self.version.changed().await.ok()?;
            let now = self.snapshot.load().get(self.last.path().clone());
            let is_same = match (self.last.node(), now.node()) {
                (Some(old), Some(new)) => same(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            if !is_same {
                self.last = now.clone();
                return Some(now);
            }
        }
    }
}

/// What happens to a configuration.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` when the configuration is dropped. Waiting may be given up at any time, and nothing is lost by it.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
