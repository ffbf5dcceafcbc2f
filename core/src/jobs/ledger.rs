//! What the nodes of a fleet have written down about a job. All read the same records in the same order, and so agree on which run is
//! whose. Reads and writes nothing itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::run::{Outcome, Run, shortened};
use super::schedule::{Tick, time};

/// Runs that are remembered of each job.
pub(super) const MOST_RUNS: usize = 100;
/// Moments of which it is known whether they are done. Older ones are.
const MOST_DONE: usize = 128;

/// A record of a job. What is added later is left out by older programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// From this moment on, it runs by this schedule.
    Schedule { text: String, since: Tick },
    /// A node has the message of a run, and asks whether the run is its.
    Claim { id: String, tick: Tick, copy: String, schedule: String, node: String, at: Tick },
    /// A run has ended.
    Ended {
        tick: Tick,
        node: String,
        at: Tick,
        took_ms: u64,
        error: Option<String>,
        /// No other attempt follows.
        is_last: bool,
    },
    /// Nobody runs it: its time had passed.
    Skipped { tick: Tick, node: String, at: Tick },
    /// What one node knew, for those who come when older records are gone.
    Snapshot(Known),
    /// Moments in the future are forgotten, which a clock that ran ahead had written.
    Reset { now: Tick },
    /// Tells its writer that it has read all that was written before.
    Mark { id: String },
}

/// What is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Its schedule as the last node announced it, and since when.
    pub(super) schedule: Option<(String, Tick)>,
    /// Nothing up to this one is run any more.
    floor: Tick,
    /// Moments after the floor that are done.
    done: BTreeSet<Tick>,
    /// Moments that are begun and not done.
    #[serde(with = "pairs")]
    claims: BTreeMap<Tick, Claim>,
    /// The last runs, the oldest first.
    pub(super) runs: VecDeque<Run>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Claim {
    /// Of several messages for one moment, the one whose holder runs it.
    copy: String,
    /// How often it was begun, and how often that failed.
    attempts: u32,
    failed: u32,
}

/// What a claim comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is the claimer's run.
    Yours {
        /// Which attempt it is, from 1.
        attempt: u32,
        /// Attempts before that have failed.
        failed: u32,
    },
    /// It is done, or another message is the one for it, or its schedule is no more.
    Another,
    /// For what is no claim.
    Noted,
}

/// A map as a list: in JSON, names of fields are text, and what holds one is read by way of that.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Claim, Tick};

    pub(super) fn serialize<S: Serializer>(
        claims: &BTreeMap<Tick, Claim>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(claims)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Tick, Claim>, D::Error> {
        Vec::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}

impl Known {
    /// The last moment that is begun or done.
    pub(super) fn last(&self) -> Tick {
        let done = self.done.last().copied().unwrap_or(0);
        let begun = self.claims.last_key_value().map_or(0, |(tick, _)| *tick);
        let since = self.schedule.as_ref().map_or(0, |(_, since)| *since);
        self.floor.max(done).max(begun).max(since)
    }

    fn is_done(&self, tick: Tick) -> bool {
        tick <= self.floor || self.done.contains(&tick)
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: Record) -> Answer {
        match record {
            Record::Schedule { text, since } => {
                // One that started before may say so after.
                if self.schedule.as_ref().is_none_or(|(_, known)| *known <= since) {
                    self.schedule = Some((text, since));
                }
            }
            Record::Claim { tick, copy, schedule, node, at, .. } => {
                return self.claim(tick, copy, &schedule, node, at);
            }
            Record::Ended { tick, node, at, took_ms, error, is_last } => {
                let outcome = if error.is_none() { Outcome::Done } else { Outcome::Failed };
                let took = Some(Duration::from_millis(took_ms));
                let error = error.map(shortened);
                self.end(tick, &node, at, |run| Run { outcome, took, error, ..run });
                if is_last {
                    self.settle(tick);
                } else if let Some(claim) = self.claims.get_mut(&tick) {
                    claim.failed += 1;
                }
            }
            Record::Skipped { tick, node, at } => {
                self.end(tick, &node, at, |run| Run { outcome: Outcome::Skipped, ..run });
                self.settle(tick);
            }
            // Only for those who know nothing: what they read goes on from there.
            Record::Snapshot(known) if self.schedule.is_none() => *self = known,
            Record::Reset { now } => {
                self.floor = self.floor.min(now);
                self.done.retain(|tick| *tick <= now);
                self.claims.retain(|tick, _| *tick <= now);
                if let Some((_, since)) = &mut self.schedule {
                    *since = now.min(*since);
                }
            }
            Record::Snapshot(_) | Record::Mark { .. } => {}
        }
        Answer::Noted
    }

    fn claim(
        &mut self,
        tick: Tick,
        copy: String,
        schedule: &str,
        node: String,
        at: Tick,
    ) -> Answer {
        // A node that had not heard of the change yet.
        let is_old = self
            .schedule
            .as_ref()
            .is_some_and(|(text, since)| tick > *since && text.as_str() != schedule);
        if is_old || self.is_done(tick) {
            return Answer::Another;
        }
        let begun = || Claim { copy: copy.clone(), attempts: 0, failed: 0 };
        let claim = self.claims.entry(tick).or_insert_with(begun);
        if claim.copy != copy {
            return Answer::Another;
        }
        claim.attempts += 1;
        let (attempt, failed) = (claim.attempts, claim.failed);
        for run in self.runs.iter_mut().filter(|run| run.time == time(tick)) {
            // Its message has come to another, so that its node has ended or stands still.
            if run.outcome == Outcome::Running {
                run.outcome = Outcome::Lost;
            }
        }
        self.remember(Run { attempt, ..Run::begun(tick, node, at) });
        while self.claims.len() > MOST_DONE {
            self.claims.pop_first();
        }
        Answer::Yours { attempt, failed }
    }

    /// Notes how the run of a node ended; one that is not remembered is remembered now.
    fn end(&mut self, tick: Tick, node: &str, at: Tick, end: impl FnOnce(Run) -> Run) {
        let (moment, mut runs) = (time(tick), self.runs.iter_mut().rev());
        match runs.find(|run| run.time == moment && run.node == node) {
            Some(run) => *run = end(run.clone()),
            None => self.remember(end(Run::begun(tick, node.to_owned(), at))),
        }
    }

    fn remember(&mut self, run: Run) {
        self.runs.push_back(run);
        while self.runs.len() > MOST_RUNS {
            self.runs.pop_front();
        }
    }

    fn settle(&mut self, tick: Tick) {
        self.claims.remove(&tick);
        if tick > self.floor {
            self.done.insert(tick);
        }
        while self.done.len() > MOST_DONE {
            self.floor = self.done.pop_first().unwrap_or(0).max(self.floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(tick: Tick, copy: &str, node: &str) -> Record {
        Record::Claim {
            id: String::new(),
            tick,
            copy: copy.into(),
            schedule: "every 1000ms".into(),
            node: node.into(),
            at: tick,
        }
    }

    fn ended(tick: Tick, node: &str, error: Option<&str>, is_last: bool) -> Record {
        let error = error.map(str::to_owned);
        Record::Ended { tick, node: node.into(), at: tick, took_ms: 5, error, is_last }
    }

    fn begun() -> Known {
        let mut known = Known::default();
        known.take(Record::Schedule { text: "every 1000ms".into(), since: 500 });
        known
    }

    fn outcomes(known: &Known) -> Vec<(u32, Outcome)> {
        known.runs.iter().map(|run| (run.attempt, run.outcome)).collect()
    }

    const FIRST: Answer = Answer::Yours { attempt: 1, failed: 0 };
    const SECOND: Answer = Answer::Yours { attempt: 2, failed: 0 };

    #[test]
    fn of_two_messages_for_one_moment_the_first_that_is_claimed_is_run() {
        let mut known = begun();
        assert_eq!(known.last(), 500);
        assert_eq!(known.take(claim(1000, "a", "one")), FIRST);
        assert_eq!(known.take(claim(1000, "b", "two")), Answer::Another);
        assert_eq!(known.take(ended(1000, "one", None, true)), Answer::Noted);
        assert_eq!(known.take(claim(1000, "b", "two")), Answer::Another);
        assert_eq!(known.take(claim(1000, "a", "one")), Answer::Another);
        assert_eq!(known.last(), 1000);
        assert_eq!(outcomes(&known), [(1, Outcome::Done)]);
    }

    #[test]
    fn one_whose_node_died_is_run_by_the_next_who_gets_its_message() {
        let mut known = begun();
        known.take(claim(1000, "a", "one"));
        assert_eq!(known.take(claim(1000, "a", "two")), SECOND);
        known.take(ended(1000, "two", None, true));
        assert_eq!(outcomes(&known), [(1, Outcome::Lost), (2, Outcome::Done)]);
    }

    #[test]
    fn attempts_that_failed_are_counted_and_the_last_one_ends_it() {
        let mut known = begun();
        known.take(claim(1000, "a", "one"));
        known.take(ended(1000, "one", Some("no disk"), false));
        let again = Answer::Yours { attempt: 2, failed: 1 };
        assert_eq!(known.take(claim(1000, "a", "two")), again);
        known.take(ended(1000, "two", Some(&"ü".repeat(1000)), true));
        assert_eq!(known.take(claim(1000, "a", "one")), Answer::Another);
        assert_eq!(outcomes(&known), [(1, Outcome::Failed), (2, Outcome::Failed)]);
        assert_eq!(known.runs[0].error.as_deref(), Some("no disk"));
        assert_eq!(known.runs[1].error.as_ref().map(String::len), Some(500));
    }

    #[test]
    fn a_run_that_takes_long_does_not_end_with_one_that_came_after_it() {
        let mut known = begun();
        known.take(claim(1000, "a", "one"));
        assert_eq!(known.take(claim(2000, "b", "two")), FIRST);
        known.take(ended(2000, "two", None, true));
        // Its node dies, and its message comes to another.
        assert_eq!(known.take(claim(1000, "a", "two")), SECOND);
    }

    #[test]
    fn messages_of_a_schedule_that_was_changed_are_left_out_from_then_on() {
        let mut known = begun();
        known.take(Record::Schedule { text: "every 5000ms".into(), since: 7_500 });
        assert_eq!(known.last(), 7_500);
        assert_eq!(known.take(claim(8000, "b", "one")), Answer::Another);
        // Its time came before the change.
        assert_eq!(known.take(claim(7000, "a", "one")), FIRST);
        // One that started before says so late.
        known.take(Record::Schedule { text: "every 1000ms".into(), since: 7_000 });
        assert_eq!(known.take(claim(8000, "b", "one")), Answer::Another);
    }

    #[test]
    fn who_comes_late_goes_on_from_what_another_knew() {
        let mut known = begun();
        for tick in 1..=300 {
            known.take(claim(tick * 1000, "a", "one"));
            known.take(ended(tick * 1000, "one", None, true));
        }
        known.take(claim(301_000, "a", "one"));
        assert_eq!((known.runs.len(), known.done.len()), (MOST_RUNS, MOST_DONE));
        let written = serde_json::to_vec(&Record::Snapshot(known.clone())).unwrap();
        let mut late = Known::default();
        late.take(serde_json::from_slice(&written).unwrap());
        assert_eq!(late, known);
        // One who knows takes nothing from it.
        late.take(Record::Snapshot(Known::default()));
        assert_eq!(late, known);
        assert_eq!(late.take(claim(1000, "z", "two")), Answer::Another);
        assert_eq!(late.take(claim(301_000, "z", "two")), Answer::Another);
    }

    #[test]
    fn moments_that_a_clock_ahead_had_written_can_be_forgotten() {
        let mut known = begun();
        known.take(claim(900_000_000, "a", "one"));
        known.take(ended(900_000_000, "one", None, true));
        known.take(Record::Reset { now: 2_000 });
        assert_eq!(known.last(), 500);
        assert_eq!(known.take(claim(3000, "a", "one")), FIRST);
    }
}
