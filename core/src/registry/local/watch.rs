//! Tells watchers what changes in the folder. The system reports changed files at once; a slow
//! sweep besides finds what it cannot report: expiry, and processes that died on a system that
//! says nothing when their locks go.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use super::changes;
use super::folder::Folder;
use super::record::{Contents, Reader};
use crate::error::{Error, Result};
use crate::registry::{Action, Service, WatchSender, Watcher};

/// Longest time between two looks at the folder.
const SWEEP: Duration = Duration::from_secs(1);
/// Least time between two looks for expiry.
const REST: Duration = Duration::from_millis(10);

/// What the task is asked for.
pub(super) enum Request {
    /// A watcher that wants to be told of changes from now on, and is told when now is.
    Join { sender: WatchSender, joined: oneshot::Sender<Result<()>> },
    /// What the folder holds of a service.
    Read { service: String, answer: oneshot::Sender<Result<Vec<Service>>> },
}

/// The way to the task, while there is one.
pub(super) type Task = Mutex<Option<mpsc::Sender<Request>>>;

/// Adds a watcher to the task of `folder`, which is started when there is none.
pub(super) async fn join(
    folder: &Arc<Folder>,
    task: &Task,
    service: Option<&str>,
) -> Result<Watcher> {
    let (sender, watcher) = Watcher::channel(service);
    // A task may end, for want of watchers, just as it is asked.
    for _ in 0..3 {
        let requests = {
            let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
            match task.as_ref().filter(|requests| !requests.is_closed()) {
                Some(requests) => requests.clone(),
                None => {
                    let (requests, receiver) = mpsc::channel(16);
                    tokio::spawn(run(Arc::clone(folder), receiver));
                    task.insert(requests).clone()
                }
            }
        };
        let (joined, answer) = oneshot::channel();
        let request = Request::Join { sender: sender.clone(), joined };
        if requests.send(request).await.is_ok()
            && let Ok(result) = answer.await
        {
            return result.map(|()| watcher);
        }
    }
    Err(Error::unavailable("the watch of the registry folder does not start: try again"))
}

/// What the folder holds of `service`, as watchers have been told; nothing when there is no watcher.
///
/// A lookup of its own could see a node that comes and goes between two looks of the task. Watchers
/// would never hear that it went, and a cache of what was looked up would keep it for ever.
pub(super) async fn read(task: &Task, service: &str) -> Option<Result<Vec<Service>>> {
    let requests = task.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let (answer, answered) = oneshot::channel();
    requests.send(Request::Read { service: service.to_owned(), answer }).await.ok()?;
    answered.await.ok()
}

/// Runs while there are watchers.
async fn run(folder: Arc<Folder>, mut requests: mpsc::Receiver<Request>) {
    let changed = Arc::new(Notify::new());
    let _system = system_watcher(&folder, &changed);
    let mut looks = Looks { folder, reader: Reader::new(), before: None };
    let mut watchers: Vec<WatchSender> = Vec::new();
    let mut open = true;
    let mut pause = SWEEP;
    loop {
        let request = tokio::select! {
            request = requests.recv(), if open => {
                open = request.is_some();
                request
            }
            () = changed.notified() => None,
            () = sleep(pause) => None,
        };
        // One look serves everything that asked before it.
        let asked: Vec<Request> =
            request.into_iter().chain(std::iter::from_fn(|| requests.try_recv().ok())).collect();
        // What happened so far is told to the others before newcomers are among them.
        let looked = looks.look(&mut watchers).await;
        if let Ok(next_expiry) = &looked {
            pause = next_expiry.map_or(SWEEP, |left| (left + REST).min(SWEEP));
        }
        let looked = looked.map(|_| ());
        for request in asked {
            match request {
                Request::Join { sender, joined } => {
                    if joined.send(looked.clone()).is_ok() {
                        watchers.push(sender);
                    }
                }
                Request::Read { service, answer } => {
                    let _ = answer.send(looked.clone().map(|()| looks.of(&service)));
                }
            }
        }
        watchers.retain(|watcher| !watcher.is_closed());
        if watchers.is_empty() && requests.is_empty() {
            return;
        }
    }
}

/// The folder as it was when last looked at.
struct Looks {
    folder: Arc<Folder>,
    reader: Reader,
    before: Option<Vec<Service>>,
}

impl Looks {
    /// What was last seen of a service.
    fn of(&self, service: &str) -> Vec<Service> {
        let seen = self.before.iter().flatten();
        seen.filter(|record| record.name == service).cloned().collect()
    }

    /// Reports what changed since the last look, and when something expires next.
    async fn look(&mut self, watchers: &mut Vec<WatchSender>) -> Result<Option<Duration>> {
        let Contents { mut services, mut next_expiry } =
            read_all(&self.folder, &mut self.reader).await?;
        if let Some(before) = &self.before {
            let mut found = changes::between(before, &services);
            if found.iter().any(|change| change.action == Action::Delete) {
                // A large folder is not listed in one piece, and a record replaced meanwhile can
                // be missing from it; it is not missing twice.
                Contents { services, next_expiry } =
                    read_all(&self.folder, &mut self.reader).await?;
                found = changes::between(before, &services);
            }
            for change in found {
                let change = Arc::new(change);
                watchers.retain(|watcher| watcher.send(&change));
            }
        }
        self.before = Some(services);
        Ok(next_expiry)
    }
}

async fn read_all(folder: &Arc<Folder>, reader: &mut Reader) -> Result<Contents> {
    let (folder, mut moved) = (Arc::clone(folder), std::mem::take(reader));
    let read = tokio::task::spawn_blocking(move || {
        let contents = moved.read(&folder, None);
        (moved, contents)
    });
    let (moved, contents) = read.await.map_err(|error| {
        Error::unavailable("the runtime ended during a registry operation").with_source(error)
    })?;
    *reader = moved;
    contents
}

/// Has the system report changes; without it the sweep still finds them, later.
fn system_watcher(folder: &Folder, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let report = move |event: notify::Result<notify::Event>| {
        // An error means that reports were lost: look for oneself.
        if event.map_or(true, |event| is_change(event.kind) && event.paths.iter().any(is_record)) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(report).and_then(|mut watcher| {
        watcher.watch(folder.path(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            tracing::warn!(%error, "registry folder is not watched: changes show after a second");
        })
        .ok()
}

/// Leaves out what reading the folder causes, which would never end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn is_record(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|extension| extension == "json")
}
