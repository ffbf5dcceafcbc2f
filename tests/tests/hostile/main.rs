//! Peers that break HTTP/2's rules on purpose, made with Python's h2 stack, against a process of ours: its memory stays
//! bounded, honest peers are served all the while, and nothing stays behind.
//!
//! `core/tests/hostile` has the cases that need no process of their own.
//!
//! * [`clients`]: attacks on our server
//! * [`servers`]: attacks on our client

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it expected by failing, and what it saw by printing"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use micro_tests::suite::Report;
use micro_tests::{namespace, python};

mod clients;
mod servers;

/// The program of this package that is attacked.
const VICTIM: &str = env!("CARGO_BIN_EXE_victim");

/// Runs one case about our `tested` side, and keeps how many of this run passed.
fn counted(tested: &'static str, case: impl FnOnce()) {
    static CASES: Mutex<BTreeMap<&str, (usize, usize)>> = Mutex::new(BTreeMap::new());
    if namespace::is_inside() {
        return case();
    }
    let ended = catch_unwind(AssertUnwindSafe(case));
    let mut cases = CASES.lock().unwrap();
    let (passed, failed) = cases.entry(tested).or_default();
    *(if ended.is_ok() { &mut *passed } else { &mut *failed }) += 1;
    let report = Report {
        suite: "hostile peers (python-h2)".into(),
        version: python::pinned("hostile", "h2"),
        tested: tested.into(),
        passed: *passed,
        failed: *failed,
        known: Vec::new(),
    };
    report.record();
    drop(cases);
    if let Err(failure) = ended {
        resume_unwind(failure);
    }
}
