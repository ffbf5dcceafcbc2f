//! Looking into a durable broker, and putting right what went wrong in it.

mod answer;
mod ask;
mod hidden;
#[cfg(test)]
mod tests;
mod types;

pub(super) use self::ask::{ADMIN, Answer, Ask};
pub(super) use self::hidden::restore;
pub use self::types::{
    Batch, DeadLetter, DeadLetters, Letters, Mark, Oldest, QueueState, Topic, Topics,
};

use super::Durable;
use crate::broker::Start;
use crate::error::{Error, Result};

/// What looks into a [`Durable`] broker and puts right what went wrong: [`Durable::admin`] gives it. Everything may be done while
/// consumers are at work; the process that owns the folder does it.
#[derive(Debug, Clone)]
pub struct Admin {
    broker: Durable,
}

impl Durable {
    /// Looks into the broker, and puts right what went wrong in it.
    pub fn admin(&self) -> Admin {
        Admin { broker: self.clone() }
    }
}

impl Admin {
    /// Topics in order of their names, behind `after` where that is given, at most `most` (1 to 1000) of them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for another number, `UNAVAILABLE` where the owner cannot be reached or the disk fails.
    pub async fn topics(&self, after: Option<&str>, most: usize) -> Result<Topics> {
        match self.ask(Ask::Topics { after: after.map(str::to_owned), most }).await? {
            Answer::Topics(topics) => Ok(topics),
            _ => Err(strange()),
        }
    }

    /// One topic.
    ///
    /// # Errors
    /// `NOT_FOUND` for one that never had a message, and as [`topics`](Self::topics).
    pub async fn topic(&self, name: &str) -> Result<Topic> {
        match self.ask(Ask::Topic { name: name.to_owned() }).await? {
            Answer::Topic(topic) => Ok(topic),
            _ => Err(strange()),
        }
    }

    /// Dead letters, oldest first, from the number `from` on, at most `most` (1 to 1000) of them.
    ///
    /// # Errors
    /// As [`topics`](Self::topics).
    pub async fn dead_letters(
        &self,
        letters: &Letters,
        from: u64,
        most: usize,
    ) -> Result<DeadLetters> {
        match self.ask(Ask::DeadLetters { letters: letters.clone(), from, most }).await? {
            Answer::DeadLetters(letters) => Ok(letters),
            _ => Err(strange()),
        }
    }

    /// Has a queue go on from another message, such as the first to see all of them again. What its consumers have now is delivered
    /// again if it is among them; they go on at once.
    ///
    /// # Errors
    /// `NOT_FOUND` for a queue that is not there, and as [`topics`](Self::topics).
    pub async fn replay(&self, topic: &str, queue: &str, start: Start) -> Result<()> {
        let (topic, queue) = (topic.to_owned(), queue.to_owned());
        self.done(Ask::Replay { topic, queue, start: start.into() }).await
    }

    /// Forgets a queue. A consumer that subscribes to it, also one that is there now, begins it anew where its subscription says.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub async fn drop_queue(&self, topic: &str, queue: &str) -> Result<()> {
        self.done(Ask::DropQueue { topic: topic.to_owned(), queue: queue.to_owned() }).await
    }

    /// Publishes dead letters again on the topic that they came from, and drops them as dead letters: either both or none. A letter goes
    /// to the queue that had it alone; one of a subscription without a queue goes to all. Does a part of the work, from the number `from`
    /// on, and says where to go on.
    ///
    /// # Errors
    /// As [`topics`](Self::topics).
    pub async fn retry(&self, letters: &Letters, from: u64) -> Result<Batch> {
        self.batch(Ask::Retry { letters: letters.clone(), from }).await
    }

    /// Drops dead letters: no subscription gets them any more. Does a part of the work, as [`retry`](Self::retry).
    ///
    /// # Errors
    /// As [`topics`](Self::topics).
    pub async fn drop_letters(&self, letters: &Letters, from: u64) -> Result<Batch> {
        self.batch(Ask::DropLetters { letters: letters.clone(), from }).await
    }

    /// Drops all messages of a topic up to the number `last`: no queue gets them any more, but for those that its consumers have already.
    /// The disk has room again when what was published around them is too old to be kept. How many they were.
    ///
    /// # Errors
    /// As [`topic`](Self::topic).
    pub async fn drop_messages(&self, topic: &str, last: u64) -> Result<u64> {
        let batch = self.batch(Ask::DropMessages { topic: topic.to_owned(), last }).await?;
        Ok(batch.done)
    }

    async fn done(&self, ask: Ask) -> Result<()> {
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            _ => Err(strange()),
        }
    }

    async fn batch(&self, ask: Ask) -> Result<Batch> {
        match self.ask(ask).await? {
            Answer::Batch(batch) => Ok(batch),
            _ => Err(strange()),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer> {
        self.broker.ask(ask).await
    }
}

fn strange() -> Error {
    super::wire::nonsense("the owner of the data folder answered another question")
}
