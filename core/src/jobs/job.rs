//! A job of a service: when it runs, where, what becomes of failures.

use std::fmt;
use std::time::Duration;

use super::plan::{MOST_MISSED, Missed};
use super::schedule::{Interval, Schedule};
use crate::broker::{Abilities, Incoming, MessageHandler};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::resilience::Backoff;
use crate::settings::written;
use crate::spelling::quoted;

/// Bytes of a name.
const NAME_BYTES: usize = 100;

/// How many nodes of a service run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scope {
    /// One of them, whichever gets it. That needs a broker that keeps messages, such as `durable://`.
    #[default]
    Fleet,
    /// Each of them by itself, with any broker.
    Node,
}

impl Scope {
    /// As it is written: `fleet` or `node`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Node => "node",
        }
    }
}

/// A job of a service, which is run again and again.
///
/// ```
/// use std::time::Duration;
///
/// use micro::jobs::{Job, Missed};
/// use micro::{Context, Service};
///
/// async fn report(_: Context) -> micro::Result<()> {
///     Ok(())
/// }
///
/// let nightly = Job::cron("0 3 * * *", report)
///     .name("report")
///     .zone("Europe/Berlin")
///     .missed(Missed::Once)
///     .timeout(Duration::from_secs(600))
///     .max_attempts(3);
/// let service = Service::builder("billing").job(nightly);
/// ```
#[derive(Clone)]
#[must_use = "a job is run by the service it is added to"]
pub struct Job {
    name: Option<String>,
    when: When,
    zone: Option<String>,
    pub(super) scope: Scope,
    pub(super) missed: Missed,
    pub(super) timeout: Option<Duration>,
    pub(super) max_attempts: u32,
    pub(super) retry: Backoff,
    pub(super) handler: MessageHandler,
}

#[derive(Debug, Clone)]
enum When {
    Every(Interval),
    Cron(String),
}

impl Job {
    /// Runs once in each interval of 1 s to 366 days, such as `"5m"`. In a fleet, these are the multiples of the interval since 1970,
    /// on which all nodes agree; on a node they are counted from its start.
    pub fn every<F, R>(interval: impl Into<Interval>, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(When::Every(interval.into()), handler)
    }

    /// Runs at the moments that a cron expression names: minute, hour, day of month, month and day of week, with seconds before them
    /// where there are six fields. They are read in UTC unless another [`zone`](Self::zone) is named.
    pub fn cron<F, R>(expression: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(When::Cron(expression.into()), handler)
    }

    fn new<F, R>(when: When, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name: None,
            when,
            zone: None,
            scope: Scope::default(),
            missed: Missed::default(),
            timeout: None,
            max_attempts: 1,
            retry: Backoff::default(),
            handler: MessageHandler::new(move |incoming: Incoming| handler(incoming.context)),
        }
    }

    /// Its name in the service: 1 to 100 letters, digits, `-` and `_`. Unless set, it is made of the schedule, such as `every-5m`: a name
    /// that is set stays when the schedule changes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Time zone of its cron expression, such as `Europe/Berlin`; UTC unless set. A clock that is put forward or back neither loses
    /// nor doubles a daily run.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Once in a fleet, which is the default, or once on each node.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// What becomes of runs whose time passed while no node could begin them; they are left out unless set. On a [node](Scope::Node)
    /// that counts from its start.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// The most time for one run; unset, there is no limit. One that takes longer has failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often a run that fails is attempted, 1 to 100, 1 unless set. A run whose node dies is attempted again by another in any
    /// case.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long a run waits after a failure.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.retry = backoff;
        self
    }

    /// Its name, as it was set or made.
    pub(super) fn named(&self) -> String {
        match (&self.name, &self.when) {
            (Some(name), _) => name.clone(),
            (None, When::Every(_)) => match self.schedule() {
                Ok(Schedule::Every { interval, .. }) => {
                    format!("every-{}", readable(interval).replace('.', "_"))
                }
                _ => "every".to_owned(),
            },
            (None, When::Cron(expression)) => {
                let plain = |letter: char| match letter {
                    '*' => 'x',
                    letter if letter.is_ascii_alphanumeric() => letter,
                    _ => '-',
                };
                format!(
                    "cron-{}",
                    expression.trim().chars().take(80).map(plain).collect::<String>()
                )
            }
        }
    }

    /// When it runs.
    pub(super) fn schedule(&self) -> Result<Schedule> {
        match (&self.when, &self.zone) {
            (When::Every(interval), None) => Schedule::every(interval),
            (When::Every(_), Some(zone)) => Err(Error::invalid_argument(format!(
                "an interval is the same in every time zone: leave out {}",
                quoted(zone)
            ))),
            (When::Cron(expression), zone) => {
                Schedule::cron(expression, zone.as_deref().unwrap_or("UTC"))
            }
        }
    }

    /// When it runs, for people.
    pub(super) fn told(&self) -> String {
        match (&self.when, self.schedule(), &self.zone) {
            (_, Ok(Schedule::Every { interval, .. }), _) => format!("every {}", readable(interval)),
            (When::Cron(expression), _, Some(zone)) => format!("{expression} {zone}"),
            (When::Cron(expression), _, None) => format!("{expression} UTC"),
            (When::Every(_), ..) => "every".to_owned(),
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let name = self.named();
        let wrong =
            |what: &str| Err(Error::invalid_argument(format!("the job {}: {what}", quoted(&name))));
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if !(1..=NAME_BYTES).contains(&name.len()) || !name.chars().all(is_plain) {
            return wrong("a name has 1 to 100 letters, digits, `-` and `_`");
        }
        if let Err(error) = self.schedule() {
            return wrong(error.detail());
        }
        if matches!(self.missed, Missed::All(most) if !(1..=MOST_MISSED).contains(&most)) {
            return wrong("`missed` makes up for 1 to 1000 runs");
        }
        if !(1..=100).contains(&self.max_attempts) {
            return wrong("`max_attempts` is 1 to 100");
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return wrong("`timeout` is more than nothing");
        }
        Ok(())
    }

    /// Refuses a broker that cannot see to what is asked.
    pub(super) fn check_broker(&self, broker: &str, abilities: Abilities) -> Result<()> {
        let can = abilities.persists && abilities.redelivers && abilities.replays;
        if self.scope == Scope::Node || can {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "the job {} is to run once in a fleet, and the broker {broker} keeps no messages by which nodes agree on that: use one \
             that does, such as durable://, or run it on every node with `Scope::Node`",
            quoted(&self.named())
        )))
    }
}

/// An interval as people write it.
fn readable(millis: u64) -> String {
    match millis {
        millis if millis % 86_400_000 == 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        millis => written(Duration::from_millis(millis)),
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, when) = (self.named(), self.told());
        f.debug_struct("Job").field("name", &name).field("when", &when).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::JobSettings;

    async fn nothing(_: Context) -> Result<()> {
        Ok(())
    }

    #[test]
    fn a_job_without_a_name_is_called_by_its_schedule() {
        assert_eq!(Job::every("5m", nothing).named(), "every-5m");
        assert_eq!(Job::every("1500ms", nothing).named(), "every-1500ms");
        assert_eq!(Job::every("24h", nothing).named(), "every-24h");
        let job = Job::cron("*/5 3 * * MON", nothing);
        assert_eq!(
            (job.named(), job.told()),
            ("cron-x-5-3-x-x-MON".into(), "*/5 3 * * MON UTC".into())
        );
        assert_eq!(Job::every("5m", nothing).name("mail").named(), "mail");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |job: Job| job.check().unwrap_err().detail().to_owned();
        let mail = || Job::every("5m", nothing).name("mail");
        assert!(mail().check().is_ok());
        for (job, hint) in [
            (mail().name("a.b"), "letters, digits"),
            (mail().name(""), "letters, digits"),
            (mail().zone("Europe/Berlin"), "same in every time zone"),
            (mail().missed(Missed::All(0)), "1 to 1000"),
            (mail().max_attempts(0), "1 to 100"),
            (mail().timeout(Duration::ZERO), "more than nothing"),
            (Job::cron("99 3 * * *", nothing).name("mail"), "99 3 * * *"),
        ] {
            let error = refused(job);
            assert!(error.starts_with("the job ") && error.contains(hint), "{error}");
        }
    }
    #[test]
    fn a_job_is_what_its_document_says() {
        let read = |text: &str| JobSettings::from_json(text).unwrap().job(nothing);
        let job = read(
            r#"{"cron": "0 3 * * *", "name": "clean", "zone": "Europe/Berlin", "scope": "node", "missed": 7, "timeout": "10m", "max_attempts": 3, "backoff": "none"}"#,
        );
        assert_eq!((job.named(), job.told()), ("clean".into(), "0 3 * * * Europe/Berlin".into()));
        assert_eq!((job.scope, job.missed), (Scope::Node, Missed::All(7)));
        assert_eq!((job.timeout, job.max_attempts), (Some(Duration::from_secs(600)), 3));
        assert_eq!(job.retry.wait(1), Duration::ZERO);
        let short = read(r#"{"every": "5m"}"#);
        assert_eq!((short.told(), short.scope), ("every 5m".into(), Scope::Fleet));
        for (missed, expected) in [("skip", Missed::Skip), ("once", Missed::Once)] {
            let job = read(&format!(r#"{{"every": 300000, "missed": "{missed}"}}"#));
            assert_eq!((job.missed, job.named()), (expected, "every-5m".into()));
        }
    }

    #[test]
    fn a_document_of_a_job_says_when_it_runs() {
        for (text, hint) in [
            ("", "write `every` or `cron`"),
            (r#"{"every": "1s", "cron": "0 3 * * *"}"#, "one of them alone"),
            (r#"{"evry": "1s"}"#, "did you mean `every`?"),
            (r#"{"every": "1s", "scope": "nodes"}"#, "did you mean \"node\"?"),
            (r#"{"every": "1s", "missed": -1}"#, "a whole number"),
            (r#"{"every": "1s", "timeout": 0}"#, "at least 1ms"),
        ] {
            let error = JobSettings::from_json(text).unwrap_err();
            assert!(error.detail().contains(hint), "{text}: {error}");
        }
    }
}
