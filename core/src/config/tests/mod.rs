mod change;
mod contracts;
mod fail;
mod files;
mod read;
#[cfg(feature = "config-secrets")]
mod secrets;
mod served;
mod sources;
mod variables;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::*;
use crate::error::{Code, Error, Result};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

async fn loaded(sources: impl IntoIterator<Item = Json>) -> Config {
    let mut builder = Config::builder();
    for (index, json) in sources.into_iter().enumerate() {
        builder = builder.source(Memory::named(&format!("layer {index}"), json).unwrap());
    }
    builder.load().await.unwrap()
}

fn json(config: &Config) -> Json {
    config.scan("").unwrap()
}

/// A source that says or fails what a test wants.
#[derive(Debug, Clone)]
struct Scripted {
    says: watch::Sender<Result<Json>>,
    /// Whether changes are seen.
    watched: watch::Sender<bool>,
    reads: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(says: Result<Json>) -> Self {
        Self {
            says: watch::Sender::new(says),
            watched: watch::Sender::new(true),
            reads: Arc::default(),
        }
    }

    fn says(&self, says: Json) {
        let _ = self.says.send_replace(Ok(says));
    }

    fn fails(&self, code: Code, why: &'static str) {
        let _ = self.says.send_replace(Err(Error::new(code, why)));
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn read(&self) -> Result<Document> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let says = self.says.borrow().clone()?;
        Document::from_value(says, &Origin::new("scripted"))
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        if !*self.watched.borrow() {
            return Err(Error::unavailable("it cannot be watched"));
        }
        Ok(Some(Box::new(Script(self.says.subscribe(), self.watched.subscribe()))))
    }
}

struct Script(watch::Receiver<Result<Json>>, watch::Receiver<bool>);

#[async_trait]
impl Changes for Script {
    async fn changed(&mut self) -> Result<()> {
        let gone = |_| Error::unavailable("it is gone");
        tokio::select! {
            changed = self.0.changed() => changed.map_err(gone),
            _ = self.1.wait_for(|watched| !watched) => Err(Error::unavailable("the watch broke")),
        }
    }
}
