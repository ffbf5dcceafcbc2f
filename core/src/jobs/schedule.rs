//! When a job runs: at which moments, of which calendar.

use std::fmt;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::error::{Error, Result};
use crate::settings::duration;
use crate::spelling::quoted;

/// The shortest and the longest time between two runs.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Bytes of an expression and of a time zone.
const TEXT_BYTES: usize = 200;
/// How late a run may begin and still be on time, at least and at most.
const LEAST_TOLERANCE: u64 = 2_000;
const MOST_TOLERANCE: u64 = 60_000;

/// A moment at which a job is to run, in milliseconds since 1970.
pub(super) type Tick = u64;

/// How often a job runs.
#[derive(Debug, Clone)]
pub struct Interval(Result<Duration>);

impl From<Duration> for Interval {
    fn from(interval: Duration) -> Self {
        Self(Ok(interval))
    }
}

impl From<&str> for Interval {
    fn from(text: &str) -> Self {
        Self(duration(text))
    }
}

impl From<String> for Interval {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Moments of a job.
#[derive(Clone)]
pub(super) enum Schedule {
    /// So many milliseconds apart, counted from a moment.
    Every { interval: u64, from: Tick },
    /// By an expression, on the clocks of a time zone.
    Cron { expression: String, zone: String, cron: Box<Cron>, clocks: TimeZone },
}

impl Schedule {
    /// Runs at the multiples of an interval since 1970, on which all nodes agree.
    pub(super) fn every(interval: &Interval) -> Result<Self> {
        let interval = interval.0.clone()?;
        if !(SHORTEST..=LONGEST).contains(&interval) {
            return Err(Error::invalid_argument(format!(
                "a job every {interval:?}: use an interval of 1 s to 366 days"
            )));
        }
        Ok(Self::Every { interval: interval.as_millis() as u64, from: 0 })
    }

    /// Runs at the moments that an expression of five or six fields names in a time zone.
    pub(super) fn cron(expression: &str, zone: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::invalid_argument(format!("the schedule {}: {why}", quoted(expression)))
        };
        if expression.len() > TEXT_BYTES || zone.len() > TEXT_BYTES {
            return Err(wrong(format!("use at most {TEXT_BYTES} bytes")));
        }
        let cron = Cron::from_str(expression).map_err(|error| {
            wrong(format!(
                "{error}; write five fields (minute, hour, day of month, month, day of week), such as \"0 3 * * *\", or \
                 six with seconds first"
            ))
        })?;
        let clocks = match zone {
            "UTC" => TimeZone::UTC,
            zone => TimeZone::get(zone).map_err(|_| {
                wrong(format!(
                    "unknown time zone {}: use a name such as \"Europe/Berlin\"",
                    quoted(zone)
                ))
            })?,
        };
        let (expression, zone) = (expression.trim().to_owned(), zone.to_owned());
        let schedule = Self::Cron { expression, zone, cron: Box::new(cron), clocks };
        match schedule.after(millis(SystemTime::now())) {
            Some(_) => Ok(schedule),
            None => Err(wrong("it names no moment that is still to come".into())),
        }
    }

    /// What [`text`](Self::text) wrote.
    pub(super) fn read(text: &str) -> Result<Self> {
        let unknown =
            || Error::invalid_argument(format!("{} is no schedule of a job", quoted(text)));
        match text.split_once(' ') {
            Some(("every", interval)) => Self::every(&Interval::from(interval)),
            Some(("cron", rest)) => {
                let (zone, expression) = rest.split_once(' ').ok_or_else(unknown)?;
                Self::cron(expression, zone)
            }
            _ => Err(unknown()),
        }
    }

    /// The same for schedules that run at the same moments.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Every { interval, .. } => format!("every {interval}ms"),
            Self::Cron { expression, zone, .. } => format!("cron {zone} {expression}"),
        }
    }

    /// Counts its interval from this moment instead of 1970.
    pub(super) fn counted_from(self, moment: Tick) -> Self {
        match self {
            Self::Every { interval, .. } => Self::Every { interval, from: moment },
            cron @ Self::Cron { .. } => cron,
        }
    }

    /// The first moment after `moment`; `None` where there is none.
    pub(super) fn after(&self, moment: Tick) -> Option<Tick> {
        match self {
            Self::Every { interval, from } => {
                let passed = moment.checked_sub(*from).map_or(0, |passed| passed / interval + 1);
                from.checked_add(passed.checked_mul(*interval)?)
            }
            Self::Cron { cron, clocks, .. } => {
                let next = cron.find_next_occurrence(&zoned(moment, clocks)?, false).ok()?;
                tick(&next)
            }
        }
    }

    /// The last moment before `moment`, or `moment` itself.
    pub(super) fn until(&self, moment: Tick) -> Option<Tick> {
        match self {
            Self::Every { interval, from } => {
                Some(from + moment.checked_sub(*from)? / interval * interval)
            }
            Self::Cron { cron, clocks, .. } => {
                // Times of a schedule are whole seconds, so that less than one of them is never one.
                let whole = zoned(moment - moment % 1000, clocks)?;
                tick(&cron.find_previous_occurrence(&whole, true).ok()?)
            }
        }
    }

    /// How late a run of this moment may begin and still be on time: half of the way to the next, at least 2 s, at most a minute.
    pub(super) fn tolerance(&self, moment: Tick) -> u64 {
        let next = self.after(moment).unwrap_or(u64::MAX);
        ((next - moment) / 2).clamp(LEAST_TOLERANCE, MOST_TOLERANCE)
    }

    /// Whether a run of this moment would begin too late at `now`.
    pub(super) fn is_late(&self, moment: Tick, now: Tick) -> bool {
        now.saturating_sub(moment) > self.tolerance(moment)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Schedules are equal whose moments are.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

fn zoned(moment: Tick, clocks: &TimeZone) -> Option<Zoned> {
    let moment = Timestamp::from_millisecond(i64::try_from(moment).ok()?).ok()?;
    Some(moment.to_zoned(clocks.clone()))
}

fn tick(moment: &Zoned) -> Option<Tick> {
    u64::try_from(moment.timestamp().as_millisecond()).ok()
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> Tick {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The moment that is so many milliseconds after 1970.
pub(super) fn time(moment: Tick) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(moment)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Tick {
        text.parse::<Timestamp>().unwrap().as_millisecond() as u64
    }

    #[test]
    fn intervals_are_counted_from_1970_or_from_a_moment() {
        let schedule = Schedule::every(&"5m".into()).unwrap();
        let moment = at("2026-03-01T10:02:03Z");
        assert_eq!(schedule.after(moment), Some(at("2026-03-01T10:05:00Z")));
        assert_eq!(schedule.until(moment), Some(at("2026-03-01T10:00:00Z")));
        let next = at("2026-03-01T10:05:00Z");
        assert_eq!(schedule.after(next), Some(at("2026-03-01T10:10:00Z")));
        assert_eq!(schedule.until(next), Some(next));
        let own = schedule.counted_from(moment);
        assert_eq!(own.after(moment), Some(at("2026-03-01T10:07:03Z")));
        assert_eq!(own.until(moment - 1), None);
    }

    #[test]
    fn expressions_are_read_on_the_clocks_of_their_zone() {
        let schedule = Schedule::cron("0 3 * * *", "UTC").unwrap();
        assert_eq!(schedule.after(at("2026-03-01T03:00:00Z")), Some(at("2026-03-02T03:00:00Z")));
        assert_eq!(schedule.until(at("2026-03-01T03:00:00.4Z")), Some(at("2026-03-01T03:00:00Z")));
        let schedule = Schedule::cron("0 3 * * *", "Europe/Berlin").unwrap();
        assert_eq!(schedule.after(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T01:00:00Z")));
        assert_eq!(schedule.after(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T02:00:00Z")));
    }

    #[test]
    fn a_clock_that_is_put_back_or_forward_neither_loses_nor_doubles_a_day() {
        for (expression, days) in [("30 2 * * *", 730), ("15 3 * * *", 730)] {
            let schedule = Schedule::cron(expression, "Europe/Berlin").unwrap();
            let (mut moment, mut runs) = (at("2025-01-01T00:00:00Z"), 0);
            let end = at("2027-01-01T00:00:00Z");
            while let Some(next) = schedule.after(moment).filter(|next| *next < end) {
                assert_eq!(schedule.until(next), Some(next));
                assert_eq!(schedule.until(next + 1), Some(next));
                (moment, runs) = (next, runs + 1);
            }
            assert_eq!(runs, days, "{expression}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for schedule in [
            Schedule::every(&Duration::from_millis(1500).into()).unwrap(),
            Schedule::cron("0 3 * * MON", "America/New_York").unwrap(),
        ] {
            assert_eq!(Schedule::read(&schedule.text()).unwrap(), schedule);
        }
        assert!(Schedule::read("whenever").is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let say = |result: Result<Schedule>| result.unwrap_err().detail().to_owned();
        assert!(say(Schedule::every(&"10ms".into())).contains("1 s to 366 days"));
        assert!(say(Schedule::every(&"soon".into())).contains("no duration"));
        assert!(say(Schedule::cron("0 3 *", "UTC")).contains("five fields"));
        assert!(say(Schedule::cron("0 25 * * *", "UTC")).contains("0 25 * * *"));
        assert!(say(Schedule::cron("0 3 30 2 *", "UTC")).contains("no moment"));
        assert!(say(Schedule::cron("0 3 * * *", "Berlin")).contains("Europe/Berlin"));
    }

    #[test]
    fn a_run_is_late_after_half_of_the_way_to_the_next() {
        let schedule = Schedule::every(&"20s".into()).unwrap();
        assert!(!schedule.is_late(20_000, 30_000));
        assert!(schedule.is_late(20_000, 30_001));
        let often = Schedule::every(&"1s".into()).unwrap();
        assert!(!often.is_late(20_000, 22_000));
        let seldom = Schedule::cron("0 3 * * *", "UTC").unwrap();
        let moment = at("2026-03-01T03:00:00Z");
        assert!(!seldom.is_late(moment, moment + 60_000));
        assert!(seldom.is_late(moment, moment + 60_001));
    }
}
