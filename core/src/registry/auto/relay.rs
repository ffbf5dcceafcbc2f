//! A watch that goes on when the registry behind it changes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use super::shared::{PATIENCE, Shared, Stage};
use crate::registry::{Action, WatchSender, Watcher};

/// Passes on what `inner` tells, from whatever registry is the one of the moment, until the reader
/// leaves or a registry cannot be watched.
pub(super) async fn relay(
    shared: Arc<Shared>,
    service: Option<String>,
    mut inner: Watcher,
    sender: WatchSender,
    (mut moves, mut stages): (u64, watch::Receiver<Option<Stage>>),
) {
    let mut moving = false;
    loop {
        tokio::select! {
            change = inner.next() => {
                let Ok(mut change) = change else { return };
                let news = shared.state().told.take(&change);
                // Both registries know the nodes of this machine during a move.
                if moving && change.action == Action::Create {
                    match news {
                        None => continue,
                        Some(action) => change.action = action,
                    }
                }
                if !sender.send(&Arc::new(change)) {
                    return;
                }
            }
            changed = stages.changed() => {
                let stage = stages.borrow_and_update().clone();
                let (Ok(()), Some(stage)) = (changed, stage) else { return };
                if stage.moves != moves {
                    let next = timeout(PATIENCE, stage.registry.watch(service.as_deref())).await;
                    let Ok(Ok(next)) = next else { return };
                    (inner, moves) = (next, stage.moves);
                }
                moving = !stage.over;
                if !stage.changes.iter().all(|change| sender.send(change)) {
                    return;
                }
            }
        }
    }
}
