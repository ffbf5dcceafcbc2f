//! What becomes of messages that were lent.

use bytes::Bytes;
use tokio::time::Instant;

use super::super::progress::Candidate;
use super::{PAUSE, Queue, Turn};
use crate::broker::Verdict;
use crate::broker::stored::{read, write};
use crate::data::log::Append;

impl Queue {
    /// Does what a consumer said of an attempt.
    pub(super) async fn settle(
        &mut self,
        sequence: u64,
        attempt: u32,
        verdict: Verdict,
        turn: &mut Turn,
    ) {
        let Some(progress) = &mut self.progress else { return };
        let Some(loan) = progress.loan(sequence, attempt) else { return };
        let mut most = u32::MAX;
        let mut dead_letters = None;
        if let Some(consumer) = self.consumers.get_mut(&loan.consumer) {
            consumer.held = consumer.held.saturating_sub(1);
            most = consumer.subscription.max_attempts;
            dead_letters = Some(consumer.subscription.dead_letters());
        }
        self.is_changed = true;
        let dead_letters = dead_letters.unwrap_or_else(|| format!("{}.dead", self.name.topic));
        match verdict {
            Verdict::Ack => progress.settle(sequence),
            Verdict::Retry(after, reason) if attempt < most => {
                let due = (!after.is_zero()).then(|| Instant::now() + after);
                progress.retry(sequence, due, reason);
            }
            Verdict::Retry(_, reason) | Verdict::Reject(reason) => {
                let candidate = Candidate { sequence, attempts: attempt, reason };
                self.bury(candidate, &dead_letters, turn).await;
            }
        }
    }

    /// Makes a message a dead letter.
    pub(super) async fn bury(&mut self, candidate: Candidate, dead_letters: &str, turn: &mut Turn) {
        let Candidate { sequence, attempts, reason } = candidate;
        match self.record(sequence).await {
            Ok(Some(record)) => match read(&self.name.topic, record.body.clone()) {
                Ok(message) => {
                    let queue = self.name.queue.as_deref();
                    let dead = message.into_dead_letter(dead_letters, queue, attempts, &reason);
                    turn.dead.push(Append {
                        topic: Bytes::copy_from_slice(dead_letters.as_bytes()),
                        body: write(&dead),
                    });
                }
                // It is kept as it is.
                Err(_) => turn.dead.push(Append {
                    topic: Bytes::copy_from_slice(dead_letters.as_bytes()),
                    body: [record.body, Bytes::new()],
                }),
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(topic = self.name.topic, sequence, %error, "a dead letter cannot be read");
                if let Some(progress) = &mut self.progress {
                    progress.retry(sequence, Some(Instant::now() + PAUSE), reason);
                }
                return;
            }
        }
        tracing::warn!(
            topic = self.name.topic,
            queue = self.name.queue,
            sequence,
            attempts,
            reason,
            "a message is a dead letter"
        );
        if let Some(progress) = &mut self.progress {
            progress.settle(sequence);
        }
    }
}
