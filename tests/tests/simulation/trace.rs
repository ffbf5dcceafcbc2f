//! What happened in one run, and what must hold of it whatever happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::Code;

use super::world::TICK;

/// Attempts that the framework may add because a node could not be reached at all.
const MAX_FAILOVERS: u32 = 8;
/// How much later than its deadline a call may be seen to end: two steps of the simulation.
const SLACK: Duration = TICK.saturating_mul(2);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Began {
        call: u32,
        idempotent: bool,
    },
    /// A handler was entered.
    Ran {
        call: u32,
        node: String,
    },
    Ended {
        call: u32,
        failed: Option<Code>,
        attempts: u32,
        node: String,
    },
    /// Something else of interest.
    Note(String),
}

/// When, in simulated time, and what.
pub(crate) type Trace = Vec<(Duration, Event)>;

/// Where hosts write what happens to them. Clones write the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Trace>>);

impl Log {
    pub(crate) fn write(&self, event: Event) {
        let now = turmoil::sim_elapsed().expect("hosts live in a simulation");
        self.0.lock().unwrap().push((now, event));
    }

    pub(crate) fn read(&self) -> Trace {
        self.0.lock().unwrap().clone()
    }
}

/// The terms that all calls of a run were made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

/// One call, put together from its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) began: Duration,
    pub(crate) idempotent: bool,
    pub(crate) runs: Vec<String>,
    pub(crate) ended: Duration,
    pub(crate) failed: Option<Code>,
    pub(crate) attempts: u32,
    /// Node that the last attempt went to, empty when there was none.
    pub(crate) node: String,
}

/// Puts the calls of a run together and checks what must hold of each, and of all.
pub(crate) fn check(trace: &Trace, terms: Terms) -> BTreeMap<u32, Story> {
    let mut begun: BTreeMap<u32, (Duration, bool, Vec<String>)> = BTreeMap::new();
    let mut stories = BTreeMap::new();
    for (at, event) in trace {
        match event {
            Event::Began { call, idempotent } => {
                let again = begun.insert(*call, (*at, *idempotent, Vec::new()));
                assert!(again.is_none(), "call {call} began twice");
            }
            Event::Ran { call, node } => begun.get_mut(call).unwrap().2.push(node.clone()),
            Event::Ended { call, failed, attempts, node } => {
                let (began, idempotent, _) = begun[call];
                let story = Story {
                    began,
                    idempotent,
                    runs: Vec::new(),
                    ended: *at,
                    failed: *failed,
                    attempts: *attempts,
                    node: node.clone(),
                };
                assert!(stories.insert(*call, story).is_none(), "call {call} ended twice");
            }
            Event::Note(_) => {}
        }
    }
    let mut repeated = 0;
    for (call, (_, _, runs)) in begun {
        let story: &mut Story =
            stories.get_mut(&call).unwrap_or_else(|| panic!("call {call} never ended"));
        story.runs = runs;
        repeated += story.runs.len().saturating_sub(1);
        let told = format!("call {call}: {story:?}");
        assert!(story.ended - story.began <= terms.timeout + SLACK, "late: {told}");
        let most = if story.idempotent { 1 + terms.retries as usize } else { 1 };
        assert!(story.runs.len() <= most, "ran too often: {told}");
        assert!(story.attempts <= 1 + terms.retries + MAX_FAILOVERS, "attempts: {told}");
        assert!(story.failed.is_some() || !story.runs.is_empty(), "answered by no node: {told}");
        let excused = [Code::Unavailable, Code::DeadlineExceeded];
        let excuse = story.failed.is_none_or(|code| excused.contains(&code));
        assert!(excuse, "a network causes no such failure: {told}");
    }
    // The budget: a tenth of the calls, or ten a second, counted over windows of ten seconds.
    let span = trace.last().map_or(0, |(at, _)| at.as_secs()) as usize;
    let budget = stories.len() / 10 + 100 * (span / 10 + 1);
    assert!(repeated <= budget, "{repeated} retries of {} calls in {span} s", stories.len());
    stories
}
