//! What a run showed, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::Outcome;
use crate::load::{Record, answered, causes, percentile};
use crate::options::Options;
use crate::scenario::Name;

/// What one scenario showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: Name,
    pub(crate) about: &'static str,
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    /// Calls that failed, by code and reason.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Milliseconds, of calls that were answered.
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) goals: Vec<Goal>,
    pub(crate) notes: Vec<String>,
}

/// Something a scenario promises.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) target: String,
    pub(crate) met: bool,
    /// False where the machine's speed would decide, in a bounded run.
    pub(crate) judged: bool,
}

impl Goal {
    pub(crate) fn at_most(what: &str, figure: f64, most: f64) -> Self {
        Self::new(what, figure, format!("≤ {most}"), figure <= most)
    }

    pub(crate) fn at_least(what: &str, figure: f64, least: f64) -> Self {
        Self::new(what, figure, format!("≥ {least}"), figure >= least)
    }

    fn new(what: &str, figure: f64, target: String, met: bool) -> Self {
        Self { what: what.to_owned(), figure, target, met, judged: true }
    }

    /// Shown only, unless `judged`.
    pub(crate) fn judged(self, judged: bool) -> Self {
        Self { judged, ..self }
    }
}

impl Scenario {
    pub(crate) fn of(name: Name, records: &[Record], goals: Vec<Goal>) -> Self {
        Self {
            name,
            about: name.about(),
            calls: records.len(),
            answered: answered(records),
            failed: causes(records),
            p50: percentile(records, 0.5),
            p90: percentile(records, 0.9),
            p99: percentile(records, 0.99),
            goals,
            notes: Vec::new(),
        }
    }

    /// A scenario that could not be run to its end.
    pub(crate) fn broken(name: Name, why: &str) -> Self {
        let mut broken = Self::of(name, &[], vec![Goal::at_most("broken off", 1.0, 0.0)]);
        broken.notes.push(why.to_owned());
        broken
    }

    pub(crate) fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// All that is judged was met.
    pub(crate) fn met(&self) -> bool {
        self.goals.iter().all(|goal| goal.met || !goal.judged)
    }
}

/// A scenario for the terminal.
pub(crate) fn text(scenario: &Scenario) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "  {} calls, {} answered; p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms",
        scenario.calls, scenario.answered, scenario.p50, scenario.p90, scenario.p99
    );
    for (cause, count) in &scenario.failed {
        let _ = writeln!(text, "  failed {count}: {cause}");
    }
    for note in &scenario.notes {
        let _ = writeln!(text, "  {note}");
    }
    for goal in &scenario.goals {
        let _ = writeln!(text, "  {}", line(goal));
    }
    text
}

fn line(goal: &Goal) -> String {
    let verdict = match (goal.judged, goal.met) {
        (false, _) => "not judged",
        (true, true) => "met",
        (true, false) => "MISSED",
    };
    format!("{}: {} ({}, {verdict})", goal.what, figure(goal.figure), goal.target)
}

fn figure(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure}") } else { format!("{figure:.2}") }
}

/// Writes the files that were asked for.
pub(crate) fn write(options: &Options, seed: u64, results: &[Scenario]) -> Outcome {
    let json = serde_json::to_string_pretty(&serde_json::json!({
        "seed": seed, "seconds": options.seconds, "bounded": options.bounded, "scenarios": results,
    }))?;
    if let Some(path) = &options.json {
        fs::write(path, format!("{json}\n"))?;
    }
    if let Some(folder) = &options.out {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("chaos.json"), format!("{json}\n"))?;
        fs::write(folder.join("chaos.md"), page(seed, results))?;
    }
    Ok(())
}

fn page(seed: u64, results: &[Scenario]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut page = format!(
        "\
# Chaos

Written by `make chaos ARGUMENTS='--out docs'` (`SECONDS=600` before it runs longer, `SEED={seed}` makes these faults again).
Every node is a process; the load comes at a steady rate from another one, on the same {cores} cores,
and a call's time counts from when it was due.

| scenario | calls | failed | p50 ms | p99 ms | what is judged | figure | target | met |
|---|---|---|---|---|---|---|---|---|
"
    );
    for scenario in results {
        let failed = scenario.calls - scenario.answered;
        for (index, goal) in scenario.goals.iter().enumerate() {
            let head = match index {
                0 => format!(
                    "{} | {} | {failed} | {:.1} | {:.1}",
                    scenario.name, scenario.calls, scenario.p50, scenario.p99
                ),
                _ => " | | | | ".to_owned(),
            };
            let met = if goal.met { "yes" } else { "**no**" };
            let figure = figure(goal.figure);
            let _ =
                writeln!(page, "| {head} | {} | {figure} | {} | {met} |", goal.what, goal.target);
        }
    }
    for scenario in results {
        let _ = writeln!(page, "\n## {}\n\n{}\n", scenario.name, scenario.about);
        for note in &scenario.notes {
            let _ = writeln!(page, "- {note}");
        }
        for (cause, count) in &scenario.failed {
            let _ = writeln!(page, "- failed, {cause}: {count}");
        }
    }
    page
}
