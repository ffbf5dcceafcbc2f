//! Where a queue stands, and how it is sent elsewhere.

use bytes::Bytes;

use super::{Queue, Turn};
use crate::broker::Start;
use crate::broker::durable::command::Standing;
use crate::broker::durable::progress::Progress;
use crate::data::log::{Append, Level};
use crate::error::Result;

impl Queue {
    pub(super) fn standing(&self) -> Standing {
        let consumers = self.consumers.len() as u64;
        let Some(progress) = &self.progress else { return Standing::default() };
        let (held, waiting) = progress.away();
        let holder = |number| {
            let consumer = self.consumers.get(&number)?;
            Some(match consumer.process {
                0 => format!("consumer {number}"),
                process => format!("consumer {number} of process {process}"),
            })
        };
        let oldest = progress
            .oldest()
            .map(|(sequence, attempts, consumer)| (sequence, attempts, consumer.and_then(holder)));
        Standing {
            next: progress.next(),
            pending: progress.pending() as u64,
            held: held as u64,
            waiting: waiting as u64,
            oldest,
            consumers,
        }
    }

    /// Writes down that the queue goes on elsewhere, or was dropped. Verdicts on what its consumers have now come too late then.
    pub(super) async fn reset(&mut self, start: Option<Start>, turn: &mut Turn) -> Result<()> {
        self.finish_turn(turn).await?;
        let body = match start {
            Some(start) => Progress::starting(self.first(start).await?).write(),
            None => Progress::dropped(),
        };
        let Some(topic) = self.progress_topic.clone() else { return Ok(()) };
        let records = vec![Append { topic, body: [body.into(), Bytes::new()] }];
        self.log.append(records, Level::Synced).await?;
        self.progress = None;
        self.is_changed = false;
        self.consumers.clear();
        Ok(())
    }
}
