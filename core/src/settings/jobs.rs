//! What is said of a job: when it runs, where, and what becomes of failures.

use std::time::Duration;

use super::call::backoffs;
use super::document::{Document, document};
use super::value::Value;
use crate::context::Context;
use crate::error::Result;
use crate::jobs::{Job, Missed, Scope};
use crate::resilience::Backoff;

/// The terms of a job.
///
/// ```
/// use micro::settings::JobSettings;
/// use micro::{Context, Service};
///
/// # fn example() -> micro::Result<()> {
/// let settings = JobSettings::from_json(r#"{"cron": "0 3 * * *", "name": "clean", "max_attempts": 3}"#)?;
/// let service = Service::builder("shop").job(settings.job(|_: Context| async { Ok(()) }));
/// # Ok(())
/// # }
/// ```
///
/// | key | value |
/// |---|---|
/// | `every` | a duration, 1 s to 366 days: runs once in each |
/// | `cron` | an expression: minute, hour, day of month, month, day of week, and seconds before them where there are six; or `every` |
/// | `name` | 1 to 100 letters, digits, `-` and `_`, by which nodes agree; made of the schedule unless set |
/// | `zone` | the time zone of `cron`, such as `Europe/Berlin`; UTC unless set |
/// | `scope` | `"fleet"`, which runs it once in the fleet, or `"node"`, once on each node |
/// | `missed` | what becomes of runs that no node could begin: `"skip"`, `"once"`, or how many are made up for, 1 to 1000 |
/// | `timeout` | a duration: the most time for one run |
/// | `max_attempts` | how often a run that fails is attempted, 1 to 100; 1 unless set |
/// | `backoff` | how long a run waits after a failure: `"jittered"`, `"go_micro"` or `"none"` |
#[derive(Debug, Clone)]
pub struct JobSettings {
    when: When,
    name: Option<String>,
    zone: Option<String>,
    scope: Option<Scope>,
    missed: Option<Missed>,
    timeout: Option<Duration>,
    max_attempts: Option<u32>,
    backoff: Option<Backoff>,
}

#[derive(Debug, Clone)]
enum When {
    Every(Duration),
    Cron(String),
}

impl Document for JobSettings {
    const NAME: &'static str = "job settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let every = fields.read("every", Value::duration)?;
        let cron = fields.read("cron", Value::text)?;
        let when = match (every, cron) {
            (Some(every), None) => Ok(When::Every(every)),
            (None, Some(cron)) => Ok(When::Cron(cron)),
            _ => Err(fields.path.wrong("write `every` or `cron`, and one of them alone")),
        };
        let (name, zone) = (fields.read("name", Value::text)?, fields.read("zone", Value::text)?);
        let (scope, missed) = (fields.read("scope", scope)?, fields.read("missed", Missed::read)?);
        let timeout = fields.read("timeout", Value::period)?;
        let max_attempts = fields.read("max_attempts", Value::count)?;
        let backoff = fields.read("backoff", |value| value.choice(&backoffs()))?;
        // A misspelled field says more than a missing one.
        fields.finish()?;
        Ok(Self { when: when?, name, zone, scope, missed, timeout, max_attempts, backoff })
    }
}

document!(JobSettings);

impl JobSettings {
    /// The job with these settings that runs `handler`. What makes no sense, or is more than the broker can do, is refused when
    /// the service starts.
    pub fn job<F, R>(self, handler: F) -> Job
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let mut job = match self.when {
            When::Every(interval) => Job::every(interval, handler),
            When::Cron(expression) => Job::cron(expression, handler),
        };
        if let Some(name) = self.name {
            job = job.name(name);
        }
        if let Some(zone) = self.zone {
            job = job.zone(zone);
        }
        if let Some(scope) = self.scope {
            job = job.scope(scope);
        }
        if let Some(missed) = self.missed {
            job = job.missed(missed);
        }
        if let Some(timeout) = self.timeout {
            job = job.timeout(timeout);
        }
        if let Some(attempts) = self.max_attempts {
            job = job.max_attempts(attempts);
        }
        if let Some(backoff) = self.backoff {
            job = job.retry(backoff);
        }
        job
    }
}

fn scope(value: Value) -> Result<Scope> {
    value.choice(&[Scope::Fleet, Scope::Node].map(|scope| (scope.name(), scope)))
}

impl Missed {
    fn read(value: Value) -> Result<Self> {
        match value.as_text() {
            Some(_) => value.choice(&[("skip", Self::Skip), ("once", Self::Once)]),
            None => Ok(Self::All(value.count()?)),
        }
    }
}
