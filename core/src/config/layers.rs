//! The layers of a configuration, and how they become one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use super::check::Check;
use super::document::Document;
use super::expand::Expansion;
use super::live::{Commit, Followed};
use super::node::{Node, merge, same, with};
use super::origin::Origin;
use super::path::Path;
use super::snapshot::Snapshot;
use super::status::{Event, SourceState, SourceStatus, Status};
use crate::error::{Error, Result};

/// Events that are kept for those who are slow to read them.
const EVENTS: usize = 64;

/// What the sources say, and what the program sets over them. A change is merged and checked before anything of it is in use, and then all of
/// it is.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) version: watch::Sender<u64>,
    pub(super) events: broadcast::Sender<Event>,
    expansion: Expansion,
    checks: Vec<Box<dyn Check>>,
    /// Held while a change is made. Readers do without.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    layers: Vec<Layer>,
    /// What the program sets.
    top: Arc<Node>,
    followed: Vec<Weak<dyn Followed>>,
}

#[derive(Debug, Clone)]
struct Layer {
    name: String,
    is_optional: bool,
    root: Arc<Node>,
    state: SourceState,
}

impl Layers {
    /// Without any value yet. Each source is its name, and whether it is optional.
    pub(super) fn new(
        sources: impl IntoIterator<Item = (String, bool)>,
        expansion: Expansion,
        checks: Vec<Box<dyn Check>>,
    ) -> Self {
        let empty = Node::empty(Origin::new("nothing"));
        let layer = |(name, is_optional): (String, bool)| Layer {
            root: Node::empty(Origin::new(name.as_str())),
            name,
            is_optional,
            state: SourceState::Current,
        };
        let layers = sources.into_iter().map(layer).collect();
        let snapshot = Snapshot {
            root: Arc::clone(&empty),
            layers: Vec::new(),
            version: 0,
            secrets: expansion.secrets.clone().into(),
        };
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            version: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS),
            expansion,
            checks,
            state: Mutex::new(State { layers, top: empty, followed: Vec::new() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what sources say now, all of it or nothing. Takes a while: not for a worker of the runtime.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(&self, documents: Vec<(usize, Document)>) -> Result<()> {
        let mut state = self.state();
        let mut roots: Vec<_> = state.layers.iter().map(|layer| Arc::clone(&layer.root)).collect();
        for (index, document) in &documents {
            if let Some(root) = roots.get_mut(*index) {
                *root = Arc::clone(document.root());
            }
        }
        let top = Arc::clone(&state.top);
        let taken = self.put(&mut state, roots, top);
        for (index, _) in documents {
            let Some(layer) = state.layers.get_mut(index) else { continue };
            match &taken {
                Ok(()) => {
                    if !matches!(layer.state, SourceState::Current) {
                        layer.state = SourceState::Current;
                        tracing::info!(
                            source = layer.name,
                            "a source of the configuration is in use again"
                        );
                        let _ = self.events.send(Event::Recovered { source: layer.name.clone() });
                    }
                }
                // One that is asked for again and again is told once.
                Err(error) if is_refused(&layer.state, error) => {}
                Err(error) => {
                    tracing::warn!(source = layer.name, %error, "a change of the configuration is refused");
                    let (error, source) = (error.clone(), layer.name.clone());
                    let refused = error.clone();
                    layer.state = SourceState::Refused { error, since: SystemTime::now() };
                    let _ = self.events.send(Event::Refused { source, error: refused });
                }
            }
        }
        taken
    }

    /// Remembers that a source could not be read. What it said last stays.
    pub(super) fn failed(&self, index: usize, error: &Error) {
        let mut state = self.state();
        let Some(layer) = state.layers.get_mut(index) else { return };
        let since = match &layer.state {
            // It was told.
            SourceState::Failing { error: known, .. } if known.detail() == error.detail() => return,
            SourceState::Failing { since, .. } => *since,
            _ => SystemTime::now(),
        };
        tracing::warn!(source = layer.name, %error, "a source of the configuration fails and is tried again");
        layer.state = SourceState::Failing { error: error.clone(), since };
        let _ =
            self.events.send(Event::Failed { source: layer.name.clone(), error: error.clone() });
    }

    /// Puts a value over all sources.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn set(&self, path: &Path, value: &Arc<Node>) -> Result<()> {
        let mut state = self.state();
        let top = with(&state.top, path.keys(), value);
        let roots = state.layers.iter().map(|layer| Arc::clone(&layer.root)).collect();
        self.put(&mut state, roots, top)
    }

    /// Has `followed` read anew with each change from now on, and made of what is there now.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn follow<T>(
        &self,
        make: impl FnOnce(&Arc<Node>) -> Result<(T, Weak<dyn Followed>)>,
    ) -> Result<T> {
        let mut state = self.state();
        let (made, followed) = make(&self.snapshot.load().root)?;
        state.followed.retain(|followed| followed.strong_count() > 0);
        state.followed.push(followed);
        Ok(made)
    }

    pub(super) fn status(&self) -> Status {
        let state = self.state();
        let status = |layer: &Layer| SourceStatus {
            name: layer.name.clone(),
            is_optional: layer.is_optional,
            state: layer.state.clone(),
        };
        Status {
            version: self.snapshot.load().version,
            sources: state.layers.iter().map(status).collect(),
        }
    }

    /// Merges, checks, and puts in place.
    fn put(&self, state: &mut State, roots: Vec<Arc<Node>>, top: Arc<Node>) -> Result<()> {
        let old = self.snapshot.load_full();
        let bottom = Node::empty(Origin::new("nothing"));
        let merged = roots.iter().chain([&top]).fold(bottom, |merged, layer| merge(&merged, layer));
        let root = self.expansion.apply(&merged)?;
        let is_first = old.version == 0;
        let is_changed = is_first || !same(&old.root, &root);
        let mut commits: Vec<Commit> = Vec::new();
        if is_changed {
            for check in &self.checks {
                check.check(&root)?;
            }
            for followed in state.followed.iter().filter_map(Weak::upgrade) {
                commits.extend(followed.prepare(&old.root, &root)?);
            }
        }
        let version = old.version + u64::from(is_changed);
        let layers = roots.iter().chain([&top]).cloned().collect();
        for (layer, root) in state.layers.iter_mut().zip(roots) {
            layer.root = root;
        }
        state.top = top;
        let secrets = Arc::clone(&old.secrets);
        self.snapshot.store(Arc::new(Snapshot { root, layers, version, secrets }));
        for commit in commits {
            commit();
        }
        if is_changed {
            self.version.send_replace(version);
            if !is_first {
                let _ = self.events.send(Event::Changed { version });
            }
        }
        Ok(())
    }
}

fn is_refused(state: &SourceState, error: &Error) -> bool {
    matches!(state, SourceState::Refused { error: known, .. } if known.detail() == error.detail())
}
