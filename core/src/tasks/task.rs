//! A task as its sender has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use super::record::{ID, Record, State, read, topic, write};
use super::worker::check_broker;
use crate::broker::{Deliveries, Message as Published, Start, Subscription, Verdict};
use crate::client::{Client, Publish};
use crate::codec::{Codec, Message};
use crate::error::{Error, Result};
use crate::spelling::quoted;

/// Clocks of publishers and brokers may differ by so much.
const SLACK: Duration = Duration::from_secs(300);
/// How long the broker may take to say how far a task has come.
const READ: Duration = Duration::from_secs(30);

/// A message that was sent, and the way to its answer.
#[derive(Debug, Clone)]
pub struct Task {
    client: Client,
    id: String,
    topic: String,
    sent: SystemTime,
}

impl Client {
    /// Sends a message whose answer can be asked for: a subscriber made by
    /// [`Subscriber::task`](crate::broker::Subscriber::task) handles it. With a key, a delay or metadata: [`Publish::task`].
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a broker that keeps no messages, and those of [`Broker::publish`](crate::broker::Broker::publish).
    pub async fn task<T: Message>(&self, topic: &str, message: T) -> Result<Task> {
        self.publish(topic, message).task(self).await
    }

    /// The task with this id, whoever sent it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no id of a task, or a broker that keeps no messages.
    pub fn task_by_id(&self, id: &str) -> Result<Task> {
        check_broker(&**self.broker(), "its results")?;
        let wrong = || Error::invalid_argument(format!("{} is no id of a task", quoted(id)));
        let (own, topic) = id.split_once('@').ok_or_else(wrong)?;
        let (sent, _) = own.split_once('-').ok_or_else(wrong)?;
        let sent = u64::from_str_radix(sent, 16).map_err(|_| wrong())?;
        let sent = UNIX_EPOCH.checked_add(Duration::from_millis(sent)).ok_or_else(wrong)?;
        Ok(Task { client: self.clone(), id: id.to_owned(), topic: topic.to_owned(), sent })
    }
}

impl<T: Message> Publish<T> {
    /// Sends it with `client` as a [task](Client::task).
    ///
    /// # Errors
    /// As [`Client::task`].
    pub async fn task(self, client: &Client) -> Result<Task> {
        let broker = client.broker();
        check_broker(&**broker, "its results")?;
        let mut message = self.into_message()?;
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let own = uuid::Uuid::new_v4().simple();
        let id = format!("{:x}-{own}@{}", sent.as_millis() as u64, message.topic);
        message.headers.insert(ID, &id)?;
        broker.publish(message).await?;
        client.task_by_id(&id)
    }
}

impl Task {
    /// What it is found by: text that any process with the same broker may give to [`Client::task_by_id`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How far it has come. A task whose results are kept no longer is told as queued.
    ///
    /// # Errors
    /// `UNAVAILABLE`, `DEADLINE_EXCEEDED` where the broker does not say.
    pub async fn state(&self) -> Result<State> {
        let asked = async {
            let mut told = self.told().await?;
            // What follows this was written later.
            let broker = self.client.broker();
            let mark = format!("{}?{}", self.id, uuid::Uuid::new_v4().simple());
            let mut written = write(&self.topic, &self.id, Record::Mark, broker.abilities())?;
            written.headers.insert(ID, &mark)?;
            broker.publish(written).await?;
            let mut state = State::Queued;
            loop {
                let message = next(&mut *told).await?;
                if read(&message, &mark).is_some() {
                    return Ok(state);
                }
                take(&mut state, read(&message, &self.id));
            }
        };
        timeout(READ, asked).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("the broker did not say within {READ:?}")))
        })
    }

    /// Waits for its answer, and reads it by its content type.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` where there is none within `limit`: it may come later. That of its last attempt, where it was given up.
    pub async fn result<T: Message>(&self, limit: Duration) -> Result<T> {
        let message = self.answer(limit).await?;
        let codec = match &message.content_type {
            Some(name) => Codec::from_content_type(name)?,
            None => T::preferred(),
        };
        T::decode(codec, message.body)
    }

    /// Waits for its answer, as it was written: its body and its content type.
    ///
    /// # Errors
    /// As [`Task::result`].
    pub async fn answer(&self, limit: Duration) -> Result<Published> {
        let deadline = crate::time::deadline_after(limit);
        let waited = async {
            loop {
                let failed = match self.told().await {
                    Ok(told) => match self.settled(told).await {
                        Ok(answer) => return answer,
                        Err(failed) => failed,
                    },
                    Err(error) if error.code() == crate::Code::InvalidArgument => {
                        return Err(error);
                    }
                    Err(failed) => failed,
                };
                tracing::debug!(id = self.id, %failed, "the answer of a task is asked for again");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout_at(deadline, waited).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!(
                "the task {} has no answer yet, after {limit:?}",
                self.id
            )))
        })
    }

    /// Reads until it is done or dead; the outer error is of the broker.
    async fn settled(&self, mut told: Box<dyn Deliveries>) -> Result<Result<Published>> {
        loop {
            let message = next(&mut *told).await?;
            match read(&message, &self.id) {
                Some(Record::Done(answer)) => return Ok(Ok(*answer)),
                Some(Record::Dead { error }) => return Ok(Err(error)),
                _ => {}
            }
        }
    }

    /// What was written down since it was sent.
    async fn told(&self) -> Result<Box<dyn Deliveries>> {
        let mut subscription = Subscription::new(topic(&self.topic, &self.id));
        subscription.start = self.sent.checked_sub(SLACK).map_or(Start::First, Start::Time);
        subscription.max_in_flight = 256;
        self.client.broker().subscribe(subscription).await
    }
}

/// Takes the next message.
async fn next(told: &mut dyn Deliveries) -> Result<Published> {
    let Some(delivery) = told.next().await? else {
        return Err(Error::unavailable("the broker has ended the subscription"));
    };
    let message = delivery.delivered.message.clone();
    delivery.settle(Verdict::Ack).await?;
    Ok(message)
}

/// What a record makes of a state. One that is settled stays so, as a worker that was thought dead may go on.
fn take(state: &mut State, record: Option<Record>) {
    if matches!(state, State::Done | State::Dead { .. }) {
        return;
    }
    match record {
        Some(Record::Running { attempt, node }) => *state = State::Running { attempt, node },
        Some(Record::Failed { attempt, error }) => *state = State::Failed { attempt, error },
        Some(Record::Done(_)) => *state = State::Done,
        Some(Record::Dead { error }) => *state = State::Dead { error },
        Some(Record::Mark) | None => {}
    }
}
