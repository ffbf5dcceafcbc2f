//! All scenarios of a cell, played and judged.

use futures_util::StreamExt as _;

use super::Scenario;
use super::cell::Cell;
use super::matrix::Verdict;
use super::play::Play;

/// How a cell is played.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Scenarios at once.
    pub jobs: usize,
}

impl Cell {
    /// Plays all scenarios; `tell` hears of each as it ends.
    pub async fn play(
        &self,
        scenarios: &[Scenario],
        options: Options,
        tell: impl Fn(&Scenario, &Verdict),
    ) -> Vec<Verdict> {
        let (alone, together): (Vec<_>, Vec<_>) =
            scenarios.iter().partition(|scenario| scenario.alone);
        let mut verdicts = Vec::new();
        for (scenarios, jobs) in [(together, options.jobs.max(1)), (alone, 1)] {
            let playing = scenarios.into_iter().map(async |scenario| {
                let verdict = self.judge(scenario).await;
                tell(scenario, &verdict);
                verdict
            });
            let mut playing = futures_util::stream::iter(playing).buffer_unordered(jobs);
            while let Some(verdict) = playing.next().await {
                verdicts.push(verdict);
            }
        }
        for shared in [&self.shared_client, &self.shared_server] {
            if let Some(process) = shared.lock().await.take() {
                let _ = process.kill().await;
            }
        }
        verdicts
    }

    async fn judge(&self, scenario: &Scenario) -> Verdict {
        for (adapter, role) in [(&self.client, "client"), (&self.server, "server")] {
            if let Some(reason) = adapter.skips(scenario, role) {
                return Verdict::Skipped(format!("{} as {role}: {reason}", adapter.name));
            }
        }
        let mut play = match Play::new(self, scenario).await {
            Ok(play) => play,
            Err(error) => return Verdict::Failed(error),
        };
        match play.run().await {
            Ok(()) => Verdict::Passed,
            Err(error) => {
                let told = format!("{error}\n{}", play.trace());
                play.clean_up().await;
                Verdict::Failed(told)
            }
        }
    }
}
