//! What must hold whatever the order: each of these runs in all of them.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::histogram::Histogram;
use crate::in_flight::InFlight;
use crate::live::{Attempt, Live, Outcome};

/// Every model by its name.
pub const MODELS: &[(&str, fn())] = &[
    ("the_last_place_is_given_once", the_last_place_is_given_once),
    ("the_last_retry_is_given_once", the_last_retry_is_given_once),
    ("a_node_that_was_left_out_is_probed_by_one", a_node_that_was_left_out_is_probed_by_one),
    ("refusals_at_once_are_one", refusals_at_once_are_one),
    ("every_attempt_leaves_as_it_came", every_attempt_leaves_as_it_came),
    ("every_duration_is_counted", every_duration_is_counted),
];

/// Runs the same on two threads and returns what each returned.
pub(crate) fn both<T: 'static>(work: impl Fn() -> T + Clone + 'static) -> [T; 2] {
    let other = thread::spawn(work.clone());
    let mine = work();
    [mine, other.join().expect("it ends")]
}

fn the_last_place_is_given_once() {
    let places = Arc::new(InFlight::default());
    let taken = both({
        let places = places.clone();
        move || places.enter(1)
    });
    assert!(taken.iter().flatten().count() <= 1);
    drop(taken);
    assert_eq!(places.count(), 0);
    assert!(places.enter(1).is_some());
}

fn the_last_retry_is_given_once() {
    let budget = Arc::new(Budget::new());
    // A tenth of these is one more than the floor of a hundred.
    for _ in 0..1_010 {
        budget.deposit();
    }
    for _ in 0..100 {
        assert!(budget.withdraw());
    }
    let granted = both({
        let budget = budget.clone();
        move || budget.withdraw()
    });
    assert!(granted != [true, true]);
}

fn a_node_that_was_left_out_is_probed_by_one() {
    let live = Arc::new(Live::default());
    Attempt::on(&live).finish(Outcome::Refused);
    let later = Instant::now() + Duration::from_secs(60);
    let admitted = both({
        let live = live.clone();
        move || live.admit(later)
    });
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
}

fn refusals_at_once_are_one() {
    let live = Arc::new(Live::default());
    let attempts = [Attempt::on(&live), Attempt::on(&live)];
    let [first, second] = attempts;
    let other = thread::spawn(move || first.finish(Outcome::Refused));
    second.finish(Outcome::Refused);
    other.join().expect("it ends");
    let now = Instant::now();
    assert!(live.is_ejected(now));
    // The first refusal keeps a node out for a tenth of a second at most, a second one for more.
    assert!(!live.is_ejected(now + Duration::from_millis(101)));
}

fn every_attempt_leaves_as_it_came() {
    let live = Arc::new(Live::default());
    let other = thread::spawn({
        let live = live.clone();
        move || drop(Attempt::on(&live))
    });
    Attempt::on(&live).finish(Outcome::Success);
    other.join().expect("it ends");
    assert_eq!(live.in_flight(), 0);
    assert!(live.latency(Instant::now()).is_some(), "one of them was answered");
}

fn every_duration_is_counted() {
    let histogram = Arc::new(Histogram::default());
    both({
        let histogram = histogram.clone();
        move || histogram.record(Duration::from_millis(3))
    });
    let counted = histogram.quantiles();
    assert_eq!((counted.count, counted.total), (2, Duration::from_millis(6)));
}
