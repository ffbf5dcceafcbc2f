//! From what a window showed to how many calls may run at once. Plain arithmetic: no clock, no
//! atomics.
//!
//! ```text
//!          fast calls of now ≫ slow calls of before, twice
//!   Open ────────────────────────────────────────────────▶ Trying ◀──┐ every so often
//!    ▲ ▲                             fewer at once, no faster │       │
//!    │ └──────────────── it was no queue ────────────────────┘       │
//!    │                                          faster │              │
//!    └──────────── nothing refused for long ──── Limiting ───────────┘
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

/// What is not worth a refusal, however fast a handler is.
const SLACK: Duration = Duration::from_millis(10);
/// Suspicious windows in a row until something is tried.
const ALARMS: u32 = 2;
/// Fewer calls at once than this are no queue.
const CROWD: u32 = 4;
/// Windows under a limit until a lower one is tried, to see anew what calls take without a queue.
const UNTIL_TRIED: u32 = 20;
/// A call is faster when it takes less than this part of the time.
const FASTER: f64 = 0.8;
/// Windows that are no faster until it is believed that there is no queue.
const TRIALS: u32 = 2;
/// How much of the new is believed when the baseline moves.
const WEIGHT: f64 = 0.2;

/// What a window showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// 10th percentile of the time in the handler.
    pub(super) fast: Duration,
    /// 90th percentile.
    pub(super) slow: Duration,
    /// Time that all but the most hurried tenth of callers give, or more; `None` when they set no
    /// deadline.
    pub(super) budget: Option<Duration>,
    /// Most calls got no answer in time; their time is how long they waited for one.
    pub(super) late: bool,
    /// Calls in the handler at the end of the window.
    pub(super) in_flight: u32,
    /// Calls were refused.
    pub(super) shed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// No limit.
    Open,
    /// A limit lower than before, to see whether that makes calls faster.
    Trying {
        /// What fast calls took before.
        before: Duration,
        /// Windows in which fewer calls were no faster.
        in_vain: u32,
    },
    /// A limit that helps.
    Limiting,
}

/// The limit of one endpoint and what it is based on.
#[derive(Debug)]
pub(super) struct Control {
    range: RangeInclusive<u32>,
    /// A wait in line that is tolerated, when it is set.
    patience: Option<Duration>,
    phase: Phase,
    limit: f64,
    /// What fast and slow calls take without a queue.
    base: Option<(Duration, Duration)>,
    budget: Option<Duration>,
    alarms: u32,
    windows: u32,
}

impl Control {
    pub(super) fn new(range: RangeInclusive<u32>, patience: Option<Duration>) -> Self {
        let limit = f64::from(*range.end());
        Self {
            range,
            patience,
            phase: Phase::Open,
            limit,
            base: None,
            budget: None,
            alarms: 0,
            windows: 0,
        }
    }

    /// Calls that may run at once.
    pub(super) fn limit(&self) -> u32 {
        // Both ends are in the range of the type.
        self.limit.round() as u32
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// True while the next window is compared with the one before.
    pub(super) fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Trying { .. })
    }

    /// Forgets the limit, after a time without calls.
    pub(super) fn open(&mut self) {
        self.phase = Phase::Open;
        self.alarms = 0;
        self.limit = f64::from(*self.range.end());
    }

    /// What fast calls take in a line of tolerable length.
    pub(super) fn target(&self) -> Duration {
        let slow = self.slow();
        let wait = self.wait();
        let bearable = (slow.mul_f64(1.5) + SLACK).max(wait.unwrap_or_default());
        self.within_budget(bearable, 0.8).max(self.fast().mul_f64(1.1))
    }

    /// What fast calls take in a line that is too long. Endless where callers wait for ever.
    pub(super) fn alarm(&self) -> Duration {
        let slow = self.slow();
        let Some(wait) = self.wait() else { return Duration::MAX };
        let unbearable = (slow.mul_f64(2.0) + 2 * SLACK).max(wait.mul_f64(1.3));
        self.within_budget(unbearable, 0.9).max(self.fast().mul_f64(1.2))
    }

    fn fast(&self) -> Duration {
        self.base.map_or(Duration::ZERO, |(fast, _)| fast)
    }

    fn slow(&self) -> Duration {
        self.base.map_or(Duration::ZERO, |(_, slow)| slow)
    }

    fn wait(&self) -> Option<Duration> {
        self.patience.or(self.budget.map(|budget| budget / 4))
    }

    fn within_budget(&self, time: Duration, part: f64) -> Duration {
        self.budget.map_or(time, |budget| time.min(budget.mul_f64(part)))
    }

    /// Draws the conclusion of a window.
    pub(super) fn step(&mut self, seen: &Seen) {
        self.budget = seen.budget;
        self.windows += 1;
        match self.phase {
            Phase::Open => self.watch(seen),
            Phase::Trying { before, in_vain } => self.judge(seen, before, in_vain),
            Phase::Limiting => self.steer(seen),
        }
    }

    fn watch(&mut self, seen: &Seen) {
        let known = self.base.is_some();
        let queueing = known && seen.fast > self.alarm() && seen.in_flight >= CROWD;
        if !queueing {
            self.alarms = 0;
            self.learn(seen);
            return;
        }
        self.alarms += 1;
        if self.alarms >= ALARMS {
            self.alarms = 0;
            // In a line, the wait grows with the number of those who stand in it.
            let part = ratio(self.target(), seen.fast).clamp(0.25, 0.75);
            self.phase = Phase::Trying { before: seen.fast, in_vain: 0 };
            self.set(f64::from(seen.in_flight) * part);
        }
    }

    /// Moves the baseline by a window without a queue.
    fn learn(&mut self, seen: &Seen) {
        let Some((fast, slow)) = &mut self.base else {
            self.base = Some((seen.fast, seen.slow));
            return;
        };
        // Where the fast calls are as fast as ever, slow ones are slow by nature.
        let no_queue = seen.fast <= fast.mul_f64(1.25) + SLACK / 10;
        if no_queue || seen.slow < *slow {
            *slow = slow.mul_f64(1.0 - WEIGHT) + seen.slow.mul_f64(WEIGHT);
        }
        if seen.fast < *fast {
            *fast = fast.mul_f64(1.0 - WEIGHT) + seen.fast.mul_f64(WEIGHT);
        }
    }

    fn judge(&mut self, seen: &Seen, before: Duration, in_vain: u32) {
        let lowest = self.limit() == *self.range.start();
        if seen.late && !lowest {
            // All that is known of a call that was given up is that it would have taken longer.
            self.phase = Phase::Trying { before: before.max(seen.fast), in_vain };
            self.set(self.limit / 2.0);
            return;
        }
        if seen.fast > before.mul_f64(FASTER) && seen.fast > self.target() {
            // The line may have grown behind the calls that `before` was measured by.
            let growing = seen.fast > before.mul_f64(1.0 / FASTER);
            let in_vain = if growing { 0 } else { in_vain + 1 };
            if in_vain < TRIALS && !lowest {
                self.phase = Phase::Trying { before: before.max(seen.fast), in_vain };
                self.set(self.limit * ratio(self.target(), seen.fast).clamp(0.25, 0.75));
                return;
            }
            tracing::debug!(?before, now = ?seen.fast, "slow without a queue: no limit");
            self.base = Some((seen.fast, seen.slow));
            self.open();
            return;
        }
        let (fast, slow) = self.base.unwrap_or((seen.fast, seen.slow));
        self.base = Some((fast.min(seen.fast), slow.min(seen.slow)));
        self.phase = Phase::Limiting;
        self.windows = 0;
        self.set(self.limit * ratio(self.target(), seen.fast).clamp(0.25, 2.0));
    }

    fn steer(&mut self, seen: &Seen) {
        let target = self.target();
        if seen.late {
            self.set(self.limit / 2.0);
        } else if seen.fast > target {
            self.set(self.limit * ratio(target, seen.fast).clamp(0.5, 1.0));
        } else if !seen.shed {
            self.set(self.limit * 1.5);
            if self.limit() == *self.range.end() {
                self.open();
            }
        } else if self.windows >= UNTIL_TRIED && self.limit() > *self.range.start() {
            self.windows = 0;
            self.phase = Phase::Trying { before: seen.fast, in_vain: 0 };
            self.set(self.limit / 2.0);
        } else {
            self.set(self.limit * ratio(target, seen.fast).clamp(1.0, 1.1));
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(f64::from(*self.range.start()), f64::from(*self.range.end()));
    }
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}
