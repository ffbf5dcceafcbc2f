//! Follows a source for as long as a configuration is in use.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::document::Document;
use super::layers::Layers;
use super::source::{Changes, Source};
use crate::error::{Error, Result};
use crate::plugin::bounded;

/// Shortest and longest wait before a source is tried again.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(30);

/// A source, and its place among the others.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) index: usize,
    pub(super) source: Arc<dyn Source>,
    /// How long a request may take.
    pub(super) limit: Duration,
}

impl Followed {
    /// Reads it.
    ///
    /// # Errors
    /// Those of the source, with its name.
    pub(super) async fn read(&self) -> Result<Document> {
        let name = self.source.name();
        let read = bounded(&format!("reading {name}"), self.limit, self.source.read()).await;
        read.map_err(|error| self.named(&error))
    }

    /// Watches it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        let name = self.source.name();
        let watch = bounded(&format!("watching {name}"), self.limit, self.source.watch()).await;
        watch.map_err(|error| self.named(&error))
    }

    fn named(&self, error: &Error) -> Error {
        let name = self.source.name();
        let detail = error.detail();
        // A file is at the end of its URL.
        let is_named = detail.contains(name)
            || name.strip_prefix("file://").is_some_and(|path| detail.contains(path));
        match is_named {
            true => error.clone(),
            false => Error::new(error.code(), format!("{name}: {detail}")),
        }
    }

    /// Takes over what it says, whenever it changes; ends for a source that never does. A source that fails is tried again, less and less
    /// often, and when it changes.
    pub(super) async fn run(
        self,
        layers: Arc<Layers>,
        mut changes: Option<Box<dyn Changes>>,
        mut is_failing: bool,
    ) {
        let mut tries = 0;
        loop {
            if is_failing {
                let pause = sleep(pause(tries));
                tries += 1;
                match &mut changes {
                    Some(watched) => tokio::select! {
                        () = pause => {}
                        told = watched.changed() => if told.is_err() { changes = None },
                    },
                    None => pause.await,
                }
            } else {
                let Some(watched) = &mut changes else { return };
                if let Err(error) = watched.changed().await {
                    layers.failed(self.index, &self.named(&error));
                    (changes, is_failing) = (None, true);
                    continue;
                }
            }
            match self.again(&layers, &mut changes).await {
                Ok(()) => (is_failing, tries) = (false, 0),
                Err(error) => {
                    layers.failed(self.index, &error);
                    is_failing = true;
                }
            }
        }
    }

    /// Watches it, where it is not watched, and reads it.
    async fn again(
        &self,
        layers: &Arc<Layers>,
        changes: &mut Option<Box<dyn Changes>>,
    ) -> Result<()> {
        if changes.is_none() {
            *changes = self.watch().await?;
        }
        let document = self.read().await?;
        let (layers, index) = (Arc::clone(layers), self.index);
        // A refusal is told by the layers; the next change may be better.
        let taken = tokio::task::spawn_blocking(move || layers.take(vec![(index, document)]));
        match taken.await {
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(error) => Err(Error::unexpected(error)),
        }
    }
}

fn pause(tries: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << tries.min(16)).min(LAST);
    whole.mul_f64(0.5 + 0.5 * fastrand::f64())
}
