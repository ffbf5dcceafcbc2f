//! A task as its worker has it.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{ID, Record, write};
use crate::broker::{Broker, Incoming, Message as Published, MessageHandler, Start, Subscriber};
use crate::client::content_type;
use crate::codec::{Codec, Message, Raw, Schema, Side};
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::server::failure::told;

/// Queue of workers unless another is named, and of those who write down what became of dead letters.
const QUEUE: &str = "tasks";

impl Subscriber {
    /// Works off [tasks](crate::tasks) of `topic`: what the handler returns can be asked for by who sent them. All workers share the
    /// queue `tasks`, unless another is named; it begins with the first task there is.
    pub fn task<Req, Res, F, R>(topic: impl Into<String>, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = MessageHandler::new(move |incoming: Incoming| {
            let handler = handler.clone();
            worker(incoming, move |incoming| async move { answer(incoming, &*handler).await })
        });
        Self::worker(topic.into(), handler, Req::schema())
    }

    /// The same for messages as they are. What the handler returns has the content type of its message.
    pub fn raw_task<F, R>(topic: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Incoming) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = MessageHandler::new(move |incoming: Incoming| {
            let handler = handler.clone();
            worker(incoming, move |incoming: Incoming| async move {
                let content_type = incoming.delivered.message.content_type.clone();
                let mut result = Published::new("", handler(incoming).await?);
                result.content_type = content_type;
                Ok(result)
            })
        });
        Self::worker(topic.into(), handler, <Raw as Message>::schema())
    }

    fn worker(topic: String, handler: MessageHandler, schema: Schema) -> Self {
        let mut worker = Self::raw_with(topic, handler, schema);
        worker.is_task = true;
        worker.queue(QUEUE).start(Start::First)
    }
}

/// Refuses a broker that keeps no messages.
pub(super) fn check_broker(broker: &dyn Broker, what: &str) -> Result<()> {
    let can = broker.abilities();
    if can.persists && can.redelivers && can.replays {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "a task needs a broker that keeps {what}, and {} keeps nothing: use one that does, such as durable://",
        broker.name()
    )))
}

/// Refuses workers with a broker that keeps no messages.
pub(crate) fn check(subscribers: &[Subscriber], broker: &dyn Broker) -> Result<()> {
    let mut workers = subscribers.iter().filter(|subscriber| subscriber.is_task);
    let Some(worker) = workers.next() else { return Ok(()) };
    check_broker(broker, &format!("results of {}", worker.topic()))
}

/// Does the work of a message and writes down what comes of it. A message that is no task is handled without.
async fn worker<F, R>(incoming: Incoming, work: F) -> Result<()>
where
    F: FnOnce(Incoming) -> R,
    R: Future<Output = Result<Published>>,
{
    let (context, delivered) = (incoming.context.clone(), incoming.delivered.clone());
    let message = &delivered.message;
    let client = context.client()?.clone();
    let id = message.headers.get(ID).map(str::to_owned);
    let record = async |record: Record| match &id {
        Some(id) => {
            let broker = client.broker();
            broker.publish(write(&message.topic, id, record, broker.abilities())?).await
        }
        None => Ok(()),
    };
    let node = context.service_handle()?.node().id;
    record(Record::Running { attempt: delivered.attempt, node }).await?;
    match work(incoming).await {
        Ok(result) => record(Record::Done(Box::new(result))).await,
        Err(error) => {
            let (attempt, error) = (delivered.attempt, told(error, &context));
            record(Record::Failed { attempt, error: error.clone() }).await?;
            Err(error)
        }
    }
}

/// Reads a message, and writes what its handler returns.
async fn answer<Req, Res, F, R>(incoming: Incoming, handler: &F) -> Result<Published>
where
    Req: Message,
    Res: Message,
    F: Fn(Context, Req) -> R,
    R: Future<Output = Result<Res>>,
{
    let message = &incoming.delivered.message;
    let codec = match &message.content_type {
        Some(name) => Codec::from_content_type(name).map_err(Error::without_retry)?,
        None => Req::preferred(),
    };
    let read = Req::decode(codec, message.body.clone()).map_err(Error::without_retry)?;
    let answer = handler(incoming.context.clone(), read).await?;
    let codec = Res::preferred();
    let mut result = Published::new("", answer.into_bytes(codec, Side::Server)?);
    result.content_type = Some(content_type(codec).to_owned());
    Ok(result)
}

/// Writes down which tasks of a worker are dead letters, whatever made them so.
pub(crate) fn undertaker(worker: &Subscriber) -> Subscriber {
    let handler = |incoming: Incoming| async move {
        let headers = &incoming.delivered.message.headers;
        // Where several share a topic of dead letters, the id says whose it is.
        let id = headers.get(ID).and_then(|id| Some((id, id.split_once('@')?.1)));
        let Some((id, topic)) = id else { return Ok(()) };
        let reason = headers.get("micro-dead-reason").unwrap_or("it was tried too often");
        let error = Error::new(Code::Aborted, format!("the task was given up: {reason}"));
        let broker = incoming.context.client()?.broker().clone();
        broker.publish(write(topic, id, Record::Dead { error }, broker.abilities())?).await
    };
    Subscriber::raw(worker.subscription.dead_letters(), handler)
        .queue(QUEUE)
        .start(Start::First)
        .internal()
}
