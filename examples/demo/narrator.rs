//! Says what happens, in a shape that reads from top to bottom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Width of the longest bar.
const BAR: u64 = 40;

static STEPS: AtomicUsize = AtomicUsize::new(0);

/// Begins a step.
pub(crate) fn title(text: &str) {
    let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    println!("\n{step}. {text}");
}

/// Says something about the step.
pub(crate) fn say(text: &str) {
    println!("   {text}");
}

/// Says something about the whole.
pub(crate) fn paragraph(text: &str) {
    println!("\n{text}");
}

/// Shows what a user would type, and what came of it.
pub(crate) fn command(line: &str, printed: &str) {
    println!("\n   $ {line}");
    for line in printed.lines() {
        println!("   {line}");
    }
    println!();
}

/// Shows who did how much.
pub(crate) fn bars(by_process: &BTreeMap<u32, u64>) {
    let most = by_process.values().copied().max().unwrap_or(1).max(1);
    for (process, calls) in by_process {
        let length = usize::try_from(calls * BAR / most).unwrap_or_default();
        println!("   process {process:<8} {calls:>6} calls  {}", "█".repeat(length));
    }
}
