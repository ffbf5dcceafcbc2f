//! The two threads of a file: one reads, and one writes what waits, together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::store::{Batch, Level, What};
use micro::{Code, Error, Reach, Result};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::change::{Changing, Name};
use crate::layout::{open, state};
use crate::options::Options;
use crate::said::{is_over, said};

/// Jobs that wait, at most; who comes later waits to wait.
const WAITING: usize = 1024;
/// Of one transaction.
const MOST_BATCHES: usize = 256;
const MOST_BYTES: usize = 8 << 20;
/// How often what is not needed any more is removed.
const TIDY: Duration = Duration::from_secs(30);

/// What is told once something was changed: the records, and the time until the first of them ends.
pub(crate) type Tell = Box<dyn Fn(&[Name], Option<Duration>) + Send>;
type Asked = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// Has the reading thread do something.
#[derive(Debug)]
pub(crate) struct Reader {
    options: Arc<Options>,
    jobs: mpsc::Sender<Asked>,
}

/// Has the writing thread change something.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Vec<u64>>>,
}

enum Work {
    Batch(Batch),
    /// Deletes what has ended.
    End,
    /// The same, and forgets what need not be known.
    Tidy,
}

fn ended() -> Error {
    Error::internal("the thread that has the file of SQLite has ended")
}

impl Reader {
    /// # Errors
    /// `RESOURCE_EXHAUSTED` where there can be no thread.
    pub(crate) fn begin(options: &Arc<Options>) -> Result<Self> {
        let (jobs, mut asked) = mpsc::channel::<Asked>(WAITING);
        spawn("micro-sqlite-r", move || {
            let mut database = None;
            while let Some(job) = asked.blocking_recv() {
                job(&mut database);
            }
        })?;
        Ok(Self { options: options.clone(), jobs })
    }

    /// Reads; `what` is asked, for an error.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let options = self.options.clone();
        let job: Asked = Box::new(move |database| {
            if answer.is_closed() {
                return;
            }
            let _ = answer.send(with(&options, database, what, work));
        });
        self.jobs.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// Does something with the database, which is opened unless it is, and closed where it cannot be trusted any more.
fn with<T>(
    options: &Options,
    database: &mut Option<Connection>,
    what: &str,
    work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T>>,
) -> Result<T> {
    let opened = match database {
        Some(opened) => opened,
        None => database.insert(open(options)?),
    };
    match work(opened) {
        Ok(done) => done,
        Err(error) => {
            if is_over(&error) {
                *database = None;
            }
            Err(said(&options.path, what, error))
        }
    }
}

impl Writer {
    /// # Errors
    /// `RESOURCE_EXHAUSTED` where there can be no thread.
    pub(crate) fn begin(options: &Arc<Options>, tell: Tell) -> Result<Self> {
        let (jobs, mut asked) = mpsc::channel::<Job>(WAITING);
        let mut writing = Writing {
            options: options.clone(),
            tell,
            database: None,
            level: None,
            tidied: Instant::now(),
        };
        spawn("micro-sqlite-w", move || {
            while let Some(first) = asked.blocking_recv() {
                let (mut group, mut bytes) = (vec![first], 0);
                while group.len() < MOST_BATCHES
                    && bytes < MOST_BYTES
                    && let Ok(more) = asked.try_recv()
                {
                    bytes += more.work.size();
                    group.push(more);
                }
                // Nothing was done for those that gave up.
                group.retain(|job| !job.answer.is_closed());
                writing.run(group);
            }
        })?;
        Ok(Self { jobs })
    }

    async fn ask(&self, work: Work) -> Result<Vec<u64>> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { work, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    pub(crate) async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        self.ask(Work::Batch(batch)).await
    }

    /// Deletes what has ended.
    pub(crate) async fn end(&self) -> Result<()> {
        self.ask(Work::End).await.map(drop)
    }

    /// The same, and forgets what need not be known.
    pub(crate) async fn tidy(&self) -> Result<()> {
        self.ask(Work::Tidy).await.map(drop)
    }
}

impl Work {
    fn size(&self) -> usize {
        let Self::Batch(batch) = self else { return 0 };
        let value = |what: &What| match what {
            What::Write { value, .. } => value.len(),
            _ => 0,
        };
        batch.changes.iter().map(|change| value(&change.what)).sum()
    }

    fn level(&self) -> Level {
        match self {
            Self::Batch(batch) => batch.level,
            Self::End | Self::Tidy => Level::Written,
        }
    }
}

/// What the writing thread has.
struct Writing {
    options: Arc<Options>,
    tell: Tell,
    database: Option<Connection>,
    /// What is synced with each transaction.
    level: Option<Level>,
    tidied: Instant,
}

/// What a group came to.
struct Done {
    results: Vec<Result<Vec<u64>>>,
    names: Vec<Name>,
    ttl: Option<Duration>,
    may_be_more: bool,
}

impl Writing {
    fn run(&mut self, group: Vec<Job>) {
        if group.is_empty() {
            return;
        }
        let works: Vec<&Work> = group.iter().map(|job| &job.work).collect();
        match self.write(&works) {
            Ok(done) => {
                let may_be_more = done.may_be_more;
                if !done.names.is_empty() {
                    (self.tell)(&done.names, done.ttl);
                }
                for (job, result) in group.into_iter().zip(done.results) {
                    let _ = job.answer.send(result);
                }
                if may_be_more {
                    self.tidied = Instant::now();
                    self.tidy();
                }
            }
            Err(error) => {
                for job in group {
                    let _ = job.answer.send(Err(error.clone()));
                }
            }
        }
        if self.tidied.elapsed() >= TIDY {
            self.tidied = Instant::now();
            self.tidy();
        }
    }

    /// A part at a time.
    fn tidy(&mut self) {
        loop {
            match self.write(&[&Work::Tidy]) {
                Ok(done) => {
                    if !done.names.is_empty() {
                        (self.tell)(&done.names, done.ttl);
                    }
                    if !done.may_be_more {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "what has ended cannot be removed");
                    return;
                }
            }
        }
    }

    fn write(&mut self, works: &[&Work]) -> Result<Done> {
        let level = match works.iter().any(|work| work.level() == Level::Synced) {
            true => Level::Synced,
            false => Level::Written,
        };
        let database = match &mut self.database {
            Some(database) => database,
            None => {
                self.level = None;
                self.database.insert(open(&self.options)?)
            }
        };
        let mut is_committing = false;
        let history = self.options.history;
        let mut write = || -> rusqlite::Result<Result<Done>> {
            if self.level != Some(level) {
                let synchronous = if level == Level::Synced { "FULL" } else { "NORMAL" };
                database.pragma_update(None, "synchronous", synchronous)?;
                self.level = Some(level);
            }
            let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = match state(&transaction)? {
                Ok(state) => state.version,
                Err(error) => return Ok(Err(error)),
            };
            let mut changing = Changing::new(&transaction, version);
            let (mut results, mut may_be_more) = (Vec::with_capacity(works.len()), false);
            for work in works {
                results.push(match work {
                    Work::Batch(batch) => changing.apply(batch)?,
                    Work::End => {
                        may_be_more |= changing.end()?;
                        Ok(Vec::new())
                    }
                    Work::Tidy => {
                        may_be_more |= changing.end()?;
                        may_be_more |= changing.forget(history)?;
                        Ok(Vec::new())
                    }
                });
            }
            changing.count()?;
            let Changing { names, ttl, .. } = changing;
            is_committing = true;
            transaction.commit()?;
            Ok(Ok(Done { results, names, ttl, may_be_more }))
        };
        match write() {
            Ok(done) => done,
            Err(error) => {
                let is_over = is_over(&error);
                let error = said(&self.options.path, "changes", error);
                if !is_over {
                    return Err(error.with_reach(Reach::Never));
                }
                self.database = None;
                match is_committing {
                    false => Err(error.with_reach(Reach::Never)),
                    // They may be in the file, and be found there when it is opened again.
                    true => Err(Error::new(
                        Code::Unavailable,
                        format!(
                            "{}; the changes may have been made or not: read before they are made again",
                            error.detail()
                        ),
                    )),
                }
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned.map(drop).map_err(|error| {
        Error::resource_exhausted(format!("there can be no thread for a file of SQLite: {error}"))
    })
}
