//! One reader of the changes for all watches of a store, with a connection of its own. It also has the server remove what is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout};

use super::shared::Shared;
use super::told::{Raw, Told, id};
use crate::link::PATIENCE;

/// Changes that a watch may be behind before it asks for them itself.
const AHEAD: usize = 1024;
/// How long the server waits for a change.
const BLOCK: Duration = Duration::from_secs(1);
/// How often it is looked for what is over, besides the ends that are known.
const LOOK: Duration = Duration::from_secs(1);
/// Entries that are read at once.
const MOST: usize = 512;

type Streams = Option<Vec<(String, Vec<Raw>)>>;

/// What watches hear.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Changes after this version are told from now on.
    Since(u64),
    Change(Arc<Told>),
    /// It ends.
    Lost(Error),
}

/// The reader, while there is a watch, and the process it is in.
#[derive(Debug, Default)]
pub(super) struct Feed(Mutex<Option<(u32, broadcast::WeakSender<News>)>>);

impl Feed {
    /// Hears what is read from now on.
    pub(super) fn listen(self: &Arc<Self>, shared: &Arc<Shared>) -> broadcast::Receiver<News> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if let Some((of, sender)) = &*running
            && *of == process
            && let Some(sender) = sender.upgrade()
        {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(AHEAD);
        *running = Some((process, sender.downgrade()));
        let (feed, shared) = (self.clone(), shared.clone());
        tokio::spawn(async move {
            if let Err(error) = feed.read(&shared, &sender).await {
                feed.end(&sender, |_| true);
                let _ = sender.send(News::Lost(error));
            }
        });
        receiver
    }

    /// Ends it where `ends` says so; new watches have another one then.
    fn end(
        &self,
        sender: &broadcast::Sender<News>,
        ends: impl FnOnce(&broadcast::Sender<News>) -> bool,
    ) -> bool {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !ends(sender) {
            return false;
        }
        let current = running.as_ref().and_then(|(_, current)| current.upgrade());
        if current.is_some_and(|current| current.same_channel(sender)) {
            *running = None;
        }
        true
    }

    /// Reads until no watch is left.
    async fn read(&self, shared: &Shared, sender: &broadcast::Sender<News>) -> Result<()> {
        let connection = shared.link.own().await?;
        let mut last = shared.version().await?;
        let _ = sender.send(News::Since(last));
        let mut due = Instant::now();
        let mut coming = Box::pin(next(shared, connection.clone(), last));
        loop {
            tokio::select! {
                read = &mut coming => {
                    for raw in read? {
                        let Some(told) = Told::read(raw) else { continue };
                        last = told.version;
                        if let Some(after) = told.ends_after() {
                            due = due.min(Instant::now() + after);
                        }
                        let _ = sender.send(News::Change(Arc::new(told)));
                    }
                    if self.end(sender, |sender| sender.receiver_count() == 0) {
                        return Ok(());
                    }
                    coming.set(next(shared, connection.clone(), last));
                }
                () = sleep_until(due) => {
                    let pause = match shared.sweep().await {
                        Ok(pause) => pause.unwrap_or(LOOK).min(LOOK),
                        Err(error) => {
                            tracing::debug!(%error, "what is over cannot be looked for");
                            LOOK
                        }
                    };
                    due = Instant::now() + pause;
                }
            }
        }
    }
}

async fn next(
    shared: &Shared,
    mut connection: MultiplexedConnection,
    last: u64,
) -> Result<Vec<Raw>> {
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(MOST).arg("BLOCK").arg(BLOCK.as_millis().to_string());
    command.arg("STREAMS").arg(&shared.keys.changes).arg(id(last));
    let asked = timeout(BLOCK + PATIENCE, command.query_async::<Streams>(&mut connection)).await;
    let asked = asked.map_err(|_| shared.link.unreachable("it did not answer in time"))?;
    let streams = asked.map_err(|error| shared.link.failed("to tell changes", &error))?;
    Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
}
