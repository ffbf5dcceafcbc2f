//! Two contenders, alive at once and measured in short slices by turns.
//!
//! On a machine that does other work too, two long measurements one after the other meet different
//! weather. Slices of a sixth of a second meet the same, and the median slice is a calm one.

use std::time::Duration;

use super::plan::Plan;
use super::row::{Round, Row, Sample, Spec, median};
use crate::Outcome;

/// One side of a contest.
pub(crate) trait Contender {
    /// Works for about `length`.
    async fn slice(&mut self, length: Duration) -> Outcome<Slice>;

    /// Processor time used so far by the program under measurement, in seconds.
    fn processor_time(&self) -> Outcome<f64>;
}

/// What one slice brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// Calls or messages completed.
    pub(crate) completed: u64,
    /// In the unit of the row.
    pub(crate) value: f64,
}

/// A contender and what it has brought.
struct Score<C> {
    contender: C,
    values: Vec<f64>,
    completed: u64,
    processor_time: f64,
}

impl<C: Contender> Score<C> {
    async fn warmed(mut contender: C, plan: &Plan) -> Outcome<Self> {
        contender.slice(plan.slice() * 2).await?;
        Ok(Self { contender, values: Vec::new(), completed: 0, processor_time: 0.0 })
    }

    async fn advance(&mut self, plan: &Plan) -> Outcome {
        let before = self.contender.processor_time()?;
        let slice = self.contender.slice(plan.slice()).await?;
        self.processor_time += self.contender.processor_time()? - before;
        self.completed += slice.completed;
        self.values.push(slice.value);
        Ok(())
    }

    fn sample(&self) -> Outcome<Sample> {
        let value = median(&self.values).filter(|_| self.completed > 0);
        Ok(Sample {
            value: value.ok_or("nothing was completed")?,
            cpu_us: Some(self.processor_time * 1e6 / self.completed as f64),
        })
    }
}

/// Measures fresh contenders, ours and the peer's, in every round; `None` if it was not asked for.
pub(crate) async fn contest<C: Contender>(
    plan: &Plan,
    spec: &Spec,
    enter: impl AsyncFn() -> Outcome<(C, C)>,
) -> Option<Row> {
    plan.row(spec, async |_| {
        let (ours, peer) = enter().await?;
        let mut ours = Score::warmed(ours, plan).await?;
        let mut peer = Score::warmed(peer, plan).await?;
        for number in 0..plan.slices() {
            // The side that goes second may find a warmer machine: take turns at that, too.
            if number % 2 == 0 {
                ours.advance(plan).await?;
                peer.advance(plan).await?;
            } else {
                peer.advance(plan).await?;
                ours.advance(plan).await?;
            }
        }
        Ok(Round { ours: ours.sample()?, peer: Some(peer.sample()?) })
    })
    .await
}
