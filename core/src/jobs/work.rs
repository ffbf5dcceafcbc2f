//! The jobs of a service, from its start to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::fleet::Fleet;
use super::job::{Job, Scope};
use super::node::Own;
use super::run::{Run, Way};
use super::schedule::millis;
use crate::broker::{Abilities, Consumer, Consumers, Incoming};
use crate::error::{Error, Result};
use crate::middleware::Layers;
use crate::spelling::quoted;

/// A job of a service, and its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Its name in the service.
    pub name: String,
    /// When it runs, for people: `every 5m`, or a cron expression and its time zone.
    pub schedule: String,
    /// How many nodes run it.
    pub scope: Scope,
    /// When it runs next.
    pub next: Option<SystemTime>,
    /// Its last runs, 100 at most, the oldest first: those of the fleet, or those of this node since it started.
    pub runs: Vec<Run>,
}

impl Status {
    /// As `Debug.Jobs` tells it: `name`, `schedule`, `scope`, `next_ms` and `runs`, of each of which `time_ms`, `attempt`, `node`, `began_ms`,
    /// `took_ms`, `outcome` and `error`. Moments are milliseconds since 1970.
    pub fn to_json(&self) -> Value {
        let runs: Vec<Value> = self.runs.iter().map(Run::to_json).collect();
        json!({
            "name": self.name,
            "schedule": self.schedule,
            "scope": self.scope.name(),
            "next_ms": self.next.map(millis),
            "runs": runs,
        })
    }
}

/// Refuses jobs that make no sense, and a broker that cannot see to them.
pub(crate) fn check(jobs: &[Job], broker: &str, abilities: Abilities) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for job in jobs {
        job.check()?;
        job.check_broker(broker, abilities)?;
        let name = job.named();
        if names.contains(&name) {
            return Err(Error::invalid_argument(format!(
                "two jobs are called {}: give each a name of its own",
                quoted(&name)
            )));
        }
        names.push(name);
    }
    Ok(())
}

/// What is known of the jobs of a service, also before they have begun.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<Entry>>>);

#[derive(Clone)]
struct Entry {
    name: String,
    schedule: String,
    scope: Scope,
    at: At,
}

#[derive(Clone)]
enum At {
    Fleet(Arc<Fleet>),
    Node(Arc<Own>),
}

impl Board {
    pub(crate) fn statuses(&self) -> Vec<Status> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let statuses = entries.into_iter().map(|entry| {
            let (next, runs) = match &entry.at {
                At::Fleet(fleet) => fleet.status(),
                At::Node(own) => own.status(),
            };
            Status { name: entry.name, schedule: entry.schedule, scope: entry.scope, next, runs }
        });
        statuses.collect()
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Board")
    }
}

/// Jobs that are at work.
#[derive(Debug)]
pub(crate) struct Jobs {
    board: Board,
    /// Those of the fleet.
    consumers: Consumers,
    ticking: Mutex<Vec<AbortOnDropHandle<()>>>,
    /// No more runs of this node are begun.
    ending: CancellationToken,
    /// Those under way are given up.
    ended: CancellationToken,
    own: TaskTracker,
}

/// Where jobs run, and what stands around each run.
pub(crate) struct Place {
    pub(crate) service: String,
    pub(crate) node: String,
    pub(crate) consumer: Consumer,
    pub(crate) board: Board,
}

impl Jobs {
    /// Begins all of them.
    ///
    /// # Errors
    /// What the broker says of a subscription that it will never take.
    pub(crate) async fn begin(place: Place, jobs: Vec<Job>) -> Result<Self> {
        let Place { service, node, consumer, board } = place;
        let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
        let (own, mut subscribers, mut fleets) = (TaskTracker::new(), Vec::new(), Vec::new());
        for job in jobs {
            let way = Way {
                home: consumer.home.clone(),
                handler: consumer.layers.around(job.handler.clone()),
                limit: job.timeout,
            };
            let (name, schedule, scope) = (job.named(), job.told(), job.scope);
            let at = match scope {
                Scope::Fleet => {
                    let fleet = Fleet::new(&service, &node, job, consumer.broker.clone())?;
                    subscribers.push(fleet.subscriber(way));
                    fleets.push(fleet.clone());
                    At::Fleet(fleet)
                }
                Scope::Node => {
                    let job = Own::new(&node, job)?;
                    let (running, ended) = (job.clone().tick(way, ending.clone()), ended.clone());
                    own.spawn(async move {
                        tokio::select! {
                            () = running => {}
                            () = ended.cancelled() => {}
                        }
                    });
                    At::Node(job)
                }
            };
            let entry = Entry { name, schedule, scope, at };
            board.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
        own.close();
        // What stands around a run stands within this: what is not this node's to run is no run.
        let layers = Arc::new(Layers::<Incoming, ()>::default());
        let plain = Consumer { layers, errors: None, ..consumer };
        let consumers = Consumers::begin(plain, subscribers).await?;
        let ticking =
            fleets.into_iter().map(|fleet| AbortOnDropHandle::new(tokio::spawn(fleet.tick())));
        let ticking = Mutex::new(ticking.collect());
        Ok(Self { board, consumers, ticking, ending, ended, own })
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.board.statuses()
    }

    /// Begins no more runs, and waits at most for `grace` for those under way. True when all were done.
    pub(crate) async fn end(&self, grace: Duration) -> bool {
        self.ending.cancel();
        let own = async {
            let is_done = timeout(grace, self.own.wait()).await.is_ok();
            self.ended.cancel();
            self.own.wait().await;
            is_done
        };
        let (own, fleet) = tokio::join!(own, self.consumers.end(grace));
        // A run of the fleet reads what is written down until it has ended.
        self.ticking.lock().unwrap_or_else(PoisonError::into_inner).clear();
        own && fleet
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.ending.cancel();
        self.ended.cancel();
    }
}
