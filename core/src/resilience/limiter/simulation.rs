//! The gate before a simulated handler: so many workers, a line before them, callers with a
//! deadline. Time is a number, so that minutes of load take a moment.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{Gate, Limiter, Pass};

const MOST: usize = 16_384;

/// A handler with `workers`, each busy with a call for as long as `takes` says.
struct Handler<'a> {
    workers: usize,
    takes: Box<dyn Fn(&mut Rng) -> Duration + 'a>,
}

/// Arrivals at random moments, so many a second, of callers that wait for `deadline`.
#[derive(Clone, Copy)]
struct Offered {
    rate: f64,
    deadline: Option<Duration>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Outcome {
    arrived: u64,
    answered: u64,
    late: u64,
    shed: u64,
    /// Longest time until an answer.
    slowest: Duration,
    most_in_flight: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(usize),
    GivenUp(usize),
    Arrival,
}

struct Call<'a> {
    pass: Pass<'a>,
    arrived: Duration,
    working: bool,
}

/// A run that can go on with another load.
struct Simulation<'a> {
    gate: &'a Gate,
    start: Instant,
    now: Duration,
    random: Rng,
    handler: Handler<'a>,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    calls: Vec<Option<Call<'a>>>,
    line: VecDeque<usize>,
    busy: usize,
    inside: usize,
}

impl<'a> Simulation<'a> {
    fn new(gate: &'a Gate, handler: Handler<'a>) -> Self {
        Self {
            gate,
            start: Instant::now(),
            now: Duration::ZERO,
            random: Rng::with_seed(7),
            handler,
            events: BinaryHeap::new(),
            calls: Vec::new(),
            line: VecDeque::new(),
            busy: 0,
            inside: 0,
        }
    }

    fn offer(&mut self, offered: Offered, span: Duration) -> Outcome {
        let end = self.now + span;
        let mut outcome = Outcome::default();
        self.next_arrival(offered);
        while let Some(Reverse((at, event))) = self.events.peek().copied() {
            if at >= end {
                break;
            }
            self.events.pop();
            self.now = at;
            match event {
                Event::Arrival => {
                    self.next_arrival(offered);
                    self.arrive(offered, &mut outcome);
                }
                Event::Done(id) => self.end(id, true, &mut outcome),
                Event::GivenUp(id) => self.end(id, false, &mut outcome),
            }
            let (limit, most) = (self.gate.limit(), MOST as u32);
            assert!(limit.is_none_or(|limit| (1..most).contains(&limit)), "{limit:?}");
        }
        self.events.retain(|Reverse((_, event))| *event != Event::Arrival);
        self.now = end;
        outcome
    }

    fn next_arrival(&mut self, offered: Offered) {
        let pause = -(1.0 - self.random.f64()).ln() / offered.rate;
        self.events.push(Reverse((self.now + Duration::from_secs_f64(pause), Event::Arrival)));
    }

    fn arrive(&mut self, offered: Offered, outcome: &mut Outcome) {
        outcome.arrived += 1;
        let Ok(pass) = self.gate.enter(self.start + self.now, offered.deadline) else {
            outcome.shed += 1;
            return;
        };
        self.inside += 1;
        outcome.most_in_flight = outcome.most_in_flight.max(self.inside);
        let id = self.calls.len();
        self.calls.push(Some(Call { pass, arrived: self.now, working: false }));
        if let Some(deadline) = offered.deadline {
            self.events.push(Reverse((self.now + deadline, Event::GivenUp(id))));
        }
        self.line.push_back(id);
        self.work();
    }

    fn work(&mut self) {
        while self.busy < self.handler.workers
            && let Some(id) = self.line.pop_front()
        {
            if let Some(call) = &mut self.calls[id] {
                call.working = true;
                self.busy += 1;
                let takes = (self.handler.takes)(&mut self.random);
                self.events.push(Reverse((self.now + takes, Event::Done(id))));
            }
        }
    }

    fn end(&mut self, id: usize, answered: bool, outcome: &mut Outcome) {
        let Some(call) = self.calls[id].take() else { return };
        self.inside -= 1;
        self.busy -= usize::from(call.working);
        call.pass.finish(self.start + self.now, answered);
        if answered {
            outcome.answered += 1;
            outcome.slowest = outcome.slowest.max(self.now - call.arrived);
        } else {
            outcome.late += 1;
        }
        self.work();
    }
}

fn gate() -> Gate {
    Limiter::adaptive().gate(MOST).expect("a gate")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Handlers of a known capacity, and what their callers wait for.
const FIXED: [(usize, u64, u64); 8] = [
    (32, 10, 200),
    (32, 10, 100),
    (4, 5, 100),
    (2, 1, 50),
    (1, 50, 400),
    (100, 20, 5_000),
    (16, 200, 1_000),
    (64, 2_000, 5_000),
];

#[test]
fn five_times_the_load_leaves_most_of_the_peak() {
    for (workers, takes, deadline) in FIXED {
        let gate = gate();
        let takes = millis(takes);
        let capacity = workers as f64 / takes.as_secs_f64();
        let deadline = Some(millis(deadline));
        let mut run = Simulation::new(&gate, Handler { workers, takes: Box::new(move |_| takes) });
        let span = seconds(10).max(takes * 150);
        let calm = run.offer(Offered { rate: capacity * 0.5, deadline }, span);
        assert_eq!(calm.shed, 0, "{workers} × {takes:?}: {calm:?}");
        let flood = run.offer(Offered { rate: capacity * 5.0, deadline }, span);
        let goodput = flood.answered as f64 / (capacity * span.as_secs_f64());
        assert!(goodput >= 0.8, "{workers} × {takes:?}: goodput {goodput:.2}, {flood:?}");
    }
}

#[test]
fn without_a_limiter_five_times_the_load_leaves_next_to_nothing() {
    let gate = Gate::new(u32::MAX - 1..=u32::MAX - 1, None);
    let mut run = Simulation::new(&gate, Handler { workers: 32, takes: Box::new(|_| millis(10)) });
    let flood = run.offer(Offered { rate: 16_000.0, deadline: Some(millis(200)) }, seconds(20));
    let goodput = flood.answered as f64 / (3_200.0 * 20.0);
    assert!(goodput <= 0.2, "{flood:?}");
}

#[test]
fn a_server_that_starts_into_a_flood_finds_its_limit() {
    for (workers, takes, deadline) in FIXED {
        let gate = gate();
        let takes = millis(takes);
        let capacity = workers as f64 / takes.as_secs_f64();
        let deadline = Some(millis(deadline));
        let mut run = Simulation::new(&gate, Handler { workers, takes: Box::new(move |_| takes) });
        let span = seconds(10).max(takes * 150);
        run.offer(Offered { rate: capacity * 5.0, deadline }, span);
        let flood = run.offer(Offered { rate: capacity * 5.0, deadline }, span);
        let goodput = flood.answered as f64 / (capacity * span.as_secs_f64());
        assert!(goodput >= 0.8, "{workers} × {takes:?}: goodput {goodput:.2}, {flood:?}");
    }
}

#[test]
fn after_a_flood_nothing_is_refused_within_five_seconds() {
    for (workers, takes, deadline) in FIXED.into_iter().filter(|(_, takes, _)| *takes < 500) {
        let gate = gate();
        let takes = millis(takes);
        let capacity = workers as f64 / takes.as_secs_f64();
        let deadline = Some(millis(deadline));
        let mut run = Simulation::new(&gate, Handler { workers, takes: Box::new(move |_| takes) });
        let calm = Offered { rate: capacity * 0.5, deadline };
        let before = run.offer(calm, seconds(20));
        run.offer(Offered { rate: capacity * 5.0, deadline }, seconds(20));
        run.offer(calm, seconds(5));
        let after = run.offer(calm, seconds(10));
        assert_eq!((after.shed, after.late), (0, 0), "{workers} × {takes:?}: {after:?}");
        assert!(after.slowest <= before.slowest * 2, "{before:?} {after:?}");
        assert_eq!(gate.in_flight() as usize, run.inside);
    }
}

/// Runs a handler that has a worker for every call, for half a minute at each of `rates`.
fn never_queues(takes: &dyn Fn(&mut Rng) -> Duration, rates: Range<u32>, deadline: Duration) {
    let gate = gate();
    let mut run = Simulation::new(&gate, Handler { workers: usize::MAX, takes: Box::new(takes) });
    for rate in rates.clone().step_by(((rates.end - rates.start) / 4) as usize) {
        let offered = Offered { rate: f64::from(rate), deadline: Some(deadline) };
        let outcome = run.offer(offered, seconds(30));
        assert_eq!((outcome.shed, outcome.late), (0, 0), "at {rate}/s: {outcome:?}");
    }
}

#[test]
fn a_handler_that_is_slow_by_nature_is_not_throttled() {
    never_queues(&|_| seconds(2), 1..200, seconds(5));
    never_queues(&|_| millis(30), 1..2_000, seconds(1));
}

#[test]
fn a_handler_of_two_speeds_is_not_throttled() {
    for slow in [1, 10, 50, 90, 99] {
        let takes = |random: &mut Rng| millis(if random.u8(..100) < slow { 400 } else { 1 });
        never_queues(&takes, 1..2_000, seconds(1));
    }
}

#[test]
fn a_handler_of_all_speeds_is_not_throttled() {
    let takes = |random: &mut Rng| millis(20).mul_f64((-(random.f64().max(1e-3)).ln()).max(0.01));
    never_queues(&takes, 1..2_000, seconds(1));
}

#[test]
fn both_speeds_of_a_flooded_handler_get_their_share() {
    let gate = gate();
    let takes = |random: &mut Rng| millis(if random.bool() { 20 } else { 2 });
    let deadline = Some(millis(300));
    let mut run = Simulation::new(&gate, Handler { workers: 22, takes: Box::new(&takes) });
    run.offer(Offered { rate: 1_000.0, deadline }, seconds(10));
    let flood = run.offer(Offered { rate: 10_000.0, deadline }, seconds(20));
    assert!(flood.answered as f64 >= 0.8 * 2_000.0 * 20.0, "{flood:?}");
}

#[test]
fn a_handler_that_becomes_slow_without_a_queue_is_let_be_after_one_trial() {
    let gate = gate();
    let now = std::cell::Cell::new(millis(5));
    let takes = |_: &mut Rng| now.get();
    let mut run = Simulation::new(&gate, Handler { workers: usize::MAX, takes: Box::new(&takes) });
    let offered = Offered { rate: 500.0, deadline: Some(millis(2_000)) };
    run.offer(offered, seconds(10));
    now.set(millis(900));
    run.offer(offered, seconds(10));
    let later = run.offer(offered, seconds(60));
    assert_eq!((later.shed, later.late), (0, 0), "{later:?}");
}

#[test]
fn callers_without_a_deadline_are_never_refused() {
    let gate = gate();
    let mut run = Simulation::new(&gate, Handler { workers: 32, takes: Box::new(|_| millis(10)) });
    run.offer(Offered { rate: 1_000.0, deadline: None }, seconds(5));
    let flood = run.offer(Offered { rate: 6_400.0, deadline: None }, seconds(4));
    assert_eq!(flood.shed, 0, "{flood:?}");
}

#[test]
fn a_limit_is_forgotten_in_a_pause() {
    let gate = gate();
    let mut run = Simulation::new(&gate, Handler { workers: 32, takes: Box::new(|_| millis(10)) });
    let deadline = Some(millis(200));
    run.offer(Offered { rate: 1_000.0, deadline }, seconds(5));
    run.offer(Offered { rate: 16_000.0, deadline }, seconds(10));
    assert!(gate.limit().is_some());
    run.offer(Offered { rate: 0.001, deadline }, seconds(10));
    let burst = run.offer(Offered { rate: 16_000.0, deadline }, millis(50));
    assert_eq!(burst.shed, 0, "{burst:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    /// `offer` checks after every event that the limit is in its range.
    #[test]
    fn the_limit_stays_in_its_range(
        workers in 1_usize..50,
        takes in 1_u64..300,
        deadline in 1_u64..2_000,
        loads in proptest::collection::vec(0.1_f64..8.0, 1..6),
    ) {
        let gate = gate();
        let takes = millis(takes);
        let mut run = Simulation::new(&gate, Handler { workers, takes: Box::new(move |_| takes) });
        for load in loads {
            let rate = (load * workers as f64 / takes.as_secs_f64()).min(5_000.0);
            run.offer(Offered { rate, deadline: Some(millis(deadline)) }, seconds(3));
        }
    }
}
