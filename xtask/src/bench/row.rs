//! One row of the table: what is measured, how it is judged and what came out.

use serde::Serialize;

/// What a row measures and how it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Stable name, dotted from the general to the particular.
    pub(crate) id: &'static str,
    /// The same in words.
    pub(crate) title: &'static str,
    /// Unit of both sides' figures.
    pub(crate) unit: &'static str,
    /// What is good enough.
    pub(crate) goal: Goal,
}

/// A figure, a limit and on which side of the limit it should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) judged: Judged,
    pub(crate) bound: Bound,
    pub(crate) target: f64,
}

/// The figure that is compared with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judged {
    /// Ours divided by the peer's, for rates.
    Ratio,
    /// Ours minus the peer's, for what we add.
    Difference,
    /// Ours alone.
    Ours,
}

/// Whether the target is the least or the most that is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bound {
    Lower,
    Upper,
}

/// One measurement of one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) value: f64,
    /// Processor time of the measured program per request or message, in microseconds. Less
    /// subject to what else the machine does than any rate.
    pub(crate) cpu_us: Option<f64>,
}

/// One round: both sides measured right after each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) ours: Sample,
    pub(crate) peer: Option<Sample>,
}

/// A measured row, as it is written to `benchmarks.json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    /// Median of our side.
    pub(crate) ours: Option<f64>,
    /// Median of the peer, if the row has one.
    pub(crate) peer: Option<f64>,
    /// Median of the ratios of the rounds.
    pub(crate) ratio: Option<f64>,
    /// Median of the differences of the rounds.
    pub(crate) difference: Option<f64>,
    pub(crate) judged: Judged,
    pub(crate) bound: Bound,
    pub(crate) target: f64,
    /// Absent when the run was too short to judge, or failed.
    pub(crate) met: Option<bool>,
    pub(crate) rounds: usize,
    pub(crate) ours_range: Option<[f64; 2]>,
    pub(crate) peer_range: Option<[f64; 2]>,
    pub(crate) ratio_range: Option<[f64; 2]>,
    pub(crate) ours_cpu_us: Option<f64>,
    pub(crate) peer_cpu_us: Option<f64>,
    /// Median of the rounds' ratios of processor time; below 1 we need less.
    pub(crate) cpu_ratio: Option<f64>,
    /// Why there are no figures.
    pub(crate) error: Option<String>,
}

impl Row {
    /// Sums up `rounds`; `judge` is false where the run was too short to mean anything.
    pub(crate) fn measured(spec: &Spec, rounds: &[Round], judge: bool) -> Self {
        let ours: Vec<f64> = rounds.iter().map(|round| round.ours.value).collect();
        let both: Vec<(Sample, Sample)> =
            rounds.iter().filter_map(|round| Some((round.ours, round.peer?))).collect();
        let peer: Vec<f64> = both.iter().map(|(_, peer)| peer.value).collect();
        let ratios: Vec<f64> = both.iter().map(|(ours, peer)| ours.value / peer.value).collect();
        let differences: Vec<f64> =
            both.iter().map(|(ours, peer)| ours.value - peer.value).collect();
        let ours_cpu: Vec<f64> = rounds.iter().filter_map(|round| round.ours.cpu_us).collect();
        let peer_cpu: Vec<f64> = both.iter().filter_map(|(_, peer)| peer.cpu_us).collect();
        let cpu_ratios: Vec<f64> =
            both.iter().filter_map(|(ours, peer)| Some(ours.cpu_us? / peer.cpu_us?)).collect();
        let judged = match spec.goal.judged {
            Judged::Ratio => median(&ratios),
            Judged::Difference => median(&differences),
            Judged::Ours => median(&ours),
        };
        Self {
            ours: median(&ours),
            peer: median(&peer),
            ratio: median(&ratios),
            difference: median(&differences),
            met: judged.filter(|_| judge).map(|figure| spec.goal.is_met_by(figure)),
            rounds: rounds.len(),
            ours_range: range(&ours),
            peer_range: range(&peer),
            ratio_range: range(&ratios),
            ours_cpu_us: median(&ours_cpu),
            peer_cpu_us: median(&peer_cpu),
            cpu_ratio: median(&cpu_ratios),
            ..Self::failed(spec, None)
        }
    }

    /// A row without figures and the reason.
    pub(crate) fn failed(spec: &Spec, error: impl Into<Option<String>>) -> Self {
        Self {
            id: spec.id.to_owned(),
            title: spec.title.to_owned(),
            unit: spec.unit.to_owned(),
            ours: None,
            peer: None,
            ratio: None,
            difference: None,
            judged: spec.goal.judged,
            bound: spec.goal.bound,
            target: spec.goal.target,
            met: None,
            rounds: 0,
            ours_range: None,
            peer_range: None,
            ratio_range: None,
            ours_cpu_us: None,
            peer_cpu_us: None,
            cpu_ratio: None,
            error: error.into(),
        }
    }
}

impl Goal {
    /// Ours divided by the peer's is at least `target`.
    pub(crate) const fn ratio_at_least(target: f64) -> Self {
        Self { judged: Judged::Ratio, bound: Bound::Lower, target }
    }

    /// Ours divided by the peer's is at most `target`.
    pub(crate) const fn ratio_at_most(target: f64) -> Self {
        Self { judged: Judged::Ratio, bound: Bound::Upper, target }
    }

    /// Ours exceeds the peer's by at most `target`.
    pub(crate) const fn adds_at_most(target: f64) -> Self {
        Self { judged: Judged::Difference, bound: Bound::Upper, target }
    }

    /// Ours is at least `target`.
    pub(crate) const fn at_least(target: f64) -> Self {
        Self { judged: Judged::Ours, bound: Bound::Lower, target }
    }

    /// Ours is at most `target`.
    pub(crate) const fn at_most(target: f64) -> Self {
        Self { judged: Judged::Ours, bound: Bound::Upper, target }
    }

    fn is_met_by(&self, figure: f64) -> bool {
        match self.bound {
            Bound::Lower => figure >= self.target,
            Bound::Upper => figure <= self.target,
        }
    }
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The middle figure; the mean of the two middle ones of an even number.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let sorted = sorted(figures);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn range(figures: &[f64]) -> Option<[f64; 2]> {
    let sorted = sorted(figures);
    Some([*sorted.first()?, *sorted.last()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64) -> Sample {
        Sample { value, cpu_us: None }
    }

    fn row(goal: Goal, pairs: &[(f64, f64)]) -> Row {
        let spec = Spec { id: "a", title: "A", unit: "req/s", goal };
        let rounds: Vec<Round> = pairs
            .iter()
            .map(|&(ours, peer)| Round { ours: sample(ours), peer: Some(sample(peer)) })
            .collect();
        Row::measured(&spec, &rounds, true)
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_not_of_the_sides() {
        // The machine halves its speed for one round: that round's ratio is still a fair one.
        let row = row(Goal::ratio_at_least(0.95), &[(98.0, 100.0), (48.0, 50.0), (99.0, 100.0)]);
        assert_eq!(row.ratio, Some(0.98));
        assert_eq!(row.ratio_range, Some([0.96, 0.99]));
    }

    #[test]
    fn a_rate_below_its_target_is_missed() {
        assert_eq!(row(Goal::ratio_at_least(0.95), &[(94.0, 100.0)]).met, Some(false));
        assert_eq!(row(Goal::ratio_at_least(0.95), &[(95.0, 100.0)]).met, Some(true));
    }

    #[test]
    fn added_latency_above_its_target_is_missed() {
        assert_eq!(row(Goal::adds_at_most(10.0), &[(61.0, 50.0)]).met, Some(false));
        assert_eq!(row(Goal::adds_at_most(10.0), &[(60.0, 50.0)]).met, Some(true));
    }

    #[test]
    fn a_row_without_a_peer_is_judged_by_ours() {
        let spec = Spec { id: "a", title: "A", unit: "MB", goal: Goal::at_most(12.0) };
        let row = Row::measured(&spec, &[Round { ours: sample(13.0), peer: None }], true);
        assert_eq!((row.met, row.ratio), (Some(false), None));
    }

    #[test]
    fn a_short_run_is_not_judged() {
        let spec = Spec { id: "a", title: "A", unit: "MB", goal: Goal::at_most(12.0) };
        let row = Row::measured(&spec, &[Round { ours: sample(13.0), peer: None }], false);
        assert_eq!((row.met, row.ours), (None, Some(13.0)));
    }
}
