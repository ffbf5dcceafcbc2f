//! The door of one endpoint: counts the calls inside, keeps the limit, and has the limit looked after.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::control::{Control, Seen};
use super::load::Load;
use super::pushback::pushback;
use super::window::Durations;

/// Calls that make a window, or fewer where few come: then it lasts longer by [`PATIENT`].
const SAMPLES: (u32, u32) = (20, 8);
const PATIENT: Duration = Duration::from_millis(300);
/// Shortest window.
const WINDOW: Duration = Duration::from_millis(100);
/// Longest time that a trial is extended to, so that slow calls of it are seen too.
const LONGEST: Duration = Duration::from_secs(2);
/// A limit says nothing any more when no call was inside and the last window is as old as this.
const STALE: Duration = Duration::from_secs(1);

/// Bounds the calls in one handler. Entering and leaving take a few atomic operations each; a lock
/// is tried, never waited for, once per window.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Moments are nanoseconds since this one.
    start: Instant,
    limit: AtomicU32,
    in_flight: AtomicU32,
    shed: AtomicU64,
    /// Calls that came in before this moment met another limit and are not counted.
    since: AtomicU64,
    /// The window may end from this moment.
    until: AtomicU64,
    samples: AtomicU32,
    late: AtomicU32,
    took: Durations,
    given: Durations,
    /// A call that is given up counts from this time on; before, it says nothing.
    telling: AtomicU64,
    most: u32,
    control: Mutex<Steering>,
}

#[derive(Debug)]
struct Steering {
    control: Control,
    /// What had been refused when the window began.
    shed: u64,
}

/// A call that was let in. Dropped unfinished, it was given up by its caller.
#[must_use = "a call leaves when its pass is dropped"]
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    entered: Instant,
    budget: Option<Duration>,
    answered: bool,
}

impl Gate {
    pub(super) fn new(range: RangeInclusive<u32>, patience: Option<Duration>) -> Self {
        let most = *range.end();
        Self {
            start: Instant::now(),
            limit: AtomicU32::new(most),
            in_flight: AtomicU32::new(0),
            shed: AtomicU64::new(0),
            since: AtomicU64::new(0),
            until: AtomicU64::new(nanos(WINDOW)),
            samples: AtomicU32::new(0),
            late: AtomicU32::new(0),
            took: Durations::new(),
            given: Durations::new(),
            telling: AtomicU64::new(u64::MAX),
            most,
            control: Mutex::new(Steering { control: Control::new(range, patience), shed: 0 }),
        }
    }

    /// Lets a call in at `now` whose caller waits for `budget`, or says how long to stay away.
    pub(crate) fn enter(
        &self,
        now: Instant,
        budget: Option<Duration>,
    ) -> Result<Pass<'_>, Duration> {
        let inside = self.in_flight.fetch_add(1, Relaxed);
        if inside == 0 && self.limit.load(Relaxed) < self.most {
            self.refresh(now);
        }
        if inside >= self.limit.load(Relaxed) {
            self.in_flight.fetch_sub(1, Relaxed);
            return Err(self.refuse());
        }
        Ok(Pass { gate: self, entered: now, budget, answered: false })
    }

    /// Calls inside.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Calls that may be inside at once; `None` while no queueing is seen.
    pub(crate) fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Relaxed)).filter(|limit| *limit < self.most)
    }

    /// What the gate of `endpoint` is doing.
    pub(crate) fn load(&self, endpoint: &str) -> Load {
        Load {
            endpoint: endpoint.into(),
            in_flight: self.in_flight(),
            limit: self.limit(),
            shed: self.shed(),
        }
    }

    /// Calls refused so far.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    #[cold]
    fn refuse(&self) -> Duration {
        self.shed.fetch_add(1, Relaxed);
        let line = match self.control.try_lock() {
            Ok(steering) => steering.control.target(),
            Err(_) => WINDOW,
        };
        pushback(line)
    }

    /// A limit that was learned long ago does not bind the first calls after a pause.
    #[cold]
    fn refresh(&self, now: Instant) {
        let now = self.since_start(now);
        if now.saturating_sub(self.until.load(Relaxed)) < nanos(STALE) {
            return;
        }
        if let Ok(mut steering) = self.control.try_lock() {
            steering.control.open();
            self.begin(&mut steering, now, WINDOW);
        }
    }

    fn leave(&self, pass: &Pass<'_>, now: Instant) {
        let inside = self.in_flight.fetch_sub(1, Relaxed).saturating_sub(1);
        if self.since_start(pass.entered) < self.since.load(Relaxed) {
            return;
        }
        let took = nanos(now.saturating_duration_since(pass.entered));
        if !pass.answered {
            if took < self.telling.load(Relaxed) {
                return;
            }
            self.late.fetch_add(1, Relaxed);
        }
        self.took.record(took);
        if let Some(budget) = pass.budget {
            self.given.record(nanos(budget));
        }
        let samples = self.samples.fetch_add(1, Relaxed) + 1;
        if samples >= SAMPLES.1 && self.is_over(samples, self.since_start(now)) {
            self.conclude(inside, now);
        }
    }

    /// The window with so many samples ends at `now`.
    fn is_over(&self, samples: u32, now: u64) -> bool {
        let over = now.saturating_sub(self.until.load(Relaxed));
        let early = now < self.until.load(Relaxed);
        !early && (samples >= SAMPLES.0 || (samples >= SAMPLES.1 && over >= nanos(PATIENT)))
    }

    /// Ends the window; when another thread does so already, it is left to it.
    #[cold]
    fn conclude(&self, inside: u32, now: Instant) {
        let Ok(mut steering) = self.control.try_lock() else { return };
        let now = self.since_start(now);
        let samples = self.samples.load(Relaxed);
        if !self.is_over(samples, now) {
            return;
        }
        let (took, given) = (self.took.take(), self.given.take());
        let (Some(fast), Some(slow)) = (took.percentile(10), took.percentile(90)) else { return };
        let seen = Seen {
            fast,
            slow,
            // A caller without a deadline waits for ever: only a tenth of callers with one count as many.
            budget: given.percentile(10).filter(|_| given.total() * 10 >= u64::from(samples)),
            late: self.late.load(Relaxed) > samples / 2,
            in_flight: inside,
            shed: self.shed.load(Relaxed) > steering.shed,
        };
        let before = steering.control.limit();
        steering.control.step(&seen);
        let limit = steering.control.limit();
        if limit != before {
            tracing::debug!(limit, before, ?seen, "concurrency limit");
        }
        let window = if steering.control.is_trying() {
            // Long enough for calls of every speed, not only the first to be done.
            (slow * 2).clamp(WINDOW, LONGEST)
        } else {
            WINDOW
        };
        if limit != before && !steering.control.is_open() {
            self.since.store(now, Relaxed);
        }
        self.begin(&mut steering, now, window);
    }

    fn begin(&self, steering: &mut Steering, now: u64, window: Duration) {
        let control = &steering.control;
        let telling = if control.is_open() { control.alarm() } else { control.target() };
        self.telling.store(nanos(telling), Relaxed);
        self.limit.store(control.limit(), Relaxed);
        self.late.store(0, Relaxed);
        self.samples.store(0, Relaxed);
        self.until.store(now.saturating_add(nanos(window)), Relaxed);
        steering.shed = self.shed.load(Relaxed);
    }

    fn since_start(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.start))
    }
}

impl Pass<'_> {
    /// The handler answered at `now`. A failure may come before any waiting in line was done, so it
    /// counts only where it took long.
    pub(crate) fn finish(mut self, now: Instant, success: bool) {
        self.answered = success;
        self.gate.leave(&self, now);
        std::mem::forget(self);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.leave(self, Instant::now());
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
