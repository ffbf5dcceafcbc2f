//! Which runs are begun at a moment, and which are missed.

use super::schedule::{Schedule, Tick};

/// Most missed runs that are made up for.
pub(super) const MOST_MISSED: u32 = 1_000;

/// What becomes of runs whose time passed while no node could begin them: all were down, the broker was out of reach, or the run
/// before took that long. A run is missed once half of the time to the next has passed, at least 2 s, at most a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Missed {
    /// They are left out.
    #[default]
    Skip,
    /// However many were missed, the job runs once for all of them.
    Once,
    /// Each is made up for, one after the other, the last so many at most: 1 to 1000.
    All(u32),
}

impl Missed {
    fn most(self) -> usize {
        match self {
            Self::Skip => 0,
            Self::Once => 1,
            Self::All(most) => most.min(MOST_MISSED) as usize,
        }
    }
}

/// What is begun after `done` until `now`, in order: missed ones by policy, and those that are on time.
pub(super) fn due(schedule: &Schedule, done: Tick, now: Tick, missed: Missed) -> Vec<Tick> {
    let (mut due, mut late) = (Vec::new(), 0);
    let mut moment = now;
    while let Some(tick) = schedule.until(moment).filter(|tick| *tick > done) {
        if schedule.is_late(tick, now) {
            late += 1;
            if late > missed.most() {
                break;
            }
        }
        due.push(tick);
        let Some(before) = tick.checked_sub(1) else { break };
        moment = before;
    }
    due.reverse();
    due
}

/// Whether a run that nobody has begun is begun now, though it may be late.
pub(super) fn begins(schedule: &Schedule, tick: Tick, now: Tick, missed: Missed) -> bool {
    if !schedule.is_late(tick, now) {
        return true;
    }
    let most = missed.most();
    if most == 0 {
        return false;
    }
    // Of those that are late, the last so many.
    let (mut later, mut moment) = (0, tick);
    while let Some(next) = schedule.after(moment).filter(|next| schedule.is_late(*next, now)) {
        later += 1;
        if later >= most {
            return false;
        }
        moment = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes() -> Schedule {
        Schedule::every(&"1m".into()).unwrap()
    }

    /// In minutes.
    fn planned(done: u64, now: u64, missed: Missed) -> Vec<u64> {
        let due = due(&minutes(), done * 60_000, now, missed);
        due.into_iter().map(|tick| tick / 60_000).collect()
    }

    #[test]
    fn one_that_is_on_time_is_due_whatever_the_policy() {
        for missed in [Missed::Skip, Missed::Once, Missed::All(10)] {
            assert_eq!(planned(100, 101 * 60_000, missed), [101]);
            assert_eq!(planned(100, 101 * 60_000 + 30_000, missed), [101]);
            assert_eq!(planned(101, 101 * 60_000 + 30_000, missed), [0_u64; 0]);
            // The clock was put back.
            assert_eq!(planned(101, 90 * 60_000, missed), [0_u64; 0]);
        }
    }

    #[test]
    fn what_was_missed_is_due_as_the_policy_says() {
        let now = 105 * 60_000 + 1;
        assert_eq!(planned(100, now, Missed::Skip), [105]);
        assert_eq!(planned(100, now, Missed::Once), [104, 105]);
        assert_eq!(planned(100, now, Missed::All(3)), [102, 103, 104, 105]);
        assert_eq!(planned(100, now, Missed::All(30)), [101, 102, 103, 104, 105]);
        // Late for all of them.
        assert_eq!(planned(100, now + 31_000, Missed::Skip), [0_u64; 0]);
        assert_eq!(planned(100, now + 31_000, Missed::Once), [105]);
    }

    #[test]
    fn years_that_were_missed_are_not_counted() {
        let begun = std::time::Instant::now();
        let schedule = Schedule::every(&"1s".into()).unwrap();
        let now = 40 * 366 * 86_400_000;
        assert_eq!(due(&schedule, 1, now, Missed::All(u32::MAX)).len(), 1_003);
        assert!(!begins(&schedule, 1_000, now, Missed::All(u32::MAX)));
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn one_that_waited_too_long_is_begun_where_the_policy_would_make_it_due() {
        let schedule = minutes();
        for missed in [Missed::Skip, Missed::Once, Missed::All(2)] {
            for now in [105 * 60_000, 105 * 60_000 + 29_000, 105 * 60_000 + 31_000] {
                let due = due(&schedule, 100 * 60_000, now, missed);
                for tick in (101..=105).map(|minute| minute * 60_000) {
                    let is_due = due.contains(&tick);
                    assert_eq!(begins(&schedule, tick, now, missed), is_due, "{missed:?} {tick}");
                }
            }
        }
    }
}
