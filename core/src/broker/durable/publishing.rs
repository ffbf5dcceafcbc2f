//! Messages of this process on their way to the owner of a data folder. Those that wait at the same time go in one frame, and are
//! acknowledged by one answer: a call for each would cost more than writing them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::wire::{Frame, PUBLISHING, Publish, Taken, nonsense};
use crate::client::{Client, Outgoing};
use crate::codec::Proto;
use crate::error::{Code, Error, Reach, Result};
use crate::streaming::Streaming;

/// How long a message may take, as a call may.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages that wait for a place in a frame.
const WAITING: usize = 1024;
/// Messages of a frame, and bytes after which it has no more.
const TOGETHER: usize = 512;
const FRAME_BYTES: usize = 256 << 10;
/// Frames that are not answered yet. An answer is so small that the owner never waits for it to be read.
pub(super) const FRAMES: usize = 32;

/// A message, and who waits for it.
struct Waiting {
    publish: Publish,
    done: oneshot::Sender<Result<()>>,
}

/// Publishes by the owner, through one stream.
#[derive(Debug)]
pub(crate) struct Publishing {
    client: Client,
    service: &'static str,
    waiting: Mutex<Option<mpsc::Sender<Waiting>>>,
}

impl Publishing {
    /// Opens nothing yet.
    pub(crate) fn new(client: Client, service: &'static str) -> Self {
        Self { client, service, waiting: Mutex::default() }
    }

    /// Whether a message is to go this way: one that is large has a call of its own.
    pub(super) fn takes(publish: &Publish) -> bool {
        publish.size() <= FRAME_BYTES
    }

    /// Returns once the owner has the message as safe as it was opened for.
    pub(super) async fn publish(&self, publish: Publish) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let sending = async {
            let mut waiting = Waiting { publish, done };
            // What took them has ended with its runtime: another does.
            while let Err(mpsc::error::SendError(back)) = self.sender().send(waiting).await {
                waiting = back;
            }
            let ended = |_| Error::unavailable("publishing ended before the owner answered");
            outcome.await.unwrap_or_else(|error| Err(ended(error)))
        };
        let late =
            |_| Error::deadline_exceeded("the owner of the data folder did not answer in time");
        timeout(PATIENCE, sending).await.unwrap_or_else(|error| Err(late(error)))
    }

    fn sender(&self) -> mpsc::Sender<Waiting> {
        let mut known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.as_ref().filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let (sender, waiting) = mpsc::channel(WAITING);
        tokio::spawn(run(self.client.clone(), self.service, waiting));
        known.insert(sender).clone()
    }
}

/// Sends what waits until nothing can come any more, through a new stream whenever the last one has ended.
async fn run(client: Client, service: &'static str, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    while !batch.is_empty() || waiting.recv_many(&mut batch, TOGETHER).await > 0 {
        match Way::open(&client, service).await {
            Ok(way) => way.run(&mut batch, &mut waiting).await,
            Err(error) => {
                while let Ok(next) = waiting.try_recv() {
                    batch.push(next);
                }
                tell(batch.drain(..).map(|next| next.done), &error);
            }
        }
    }
}

fn tell(waiting: impl Iterator<Item = oneshot::Sender<Result<()>>>, error: &Error) {
    for done in waiting {
        // Who does not wait any more is not told.
        let _ = done.send(Err(error.clone()));
    }
}

/// A stream to the owner.
struct Way {
    outgoing: Outgoing<Proto<Frame>>,
    taken: Streaming<Proto<Taken>>,
    /// Who waits for the answers, frame by frame.
    frames: VecDeque<Vec<oneshot::Sender<Result<()>>>>,
}

impl Way {
    async fn open(client: &Client, service: &str) -> Result<Self> {
        let opening = async {
            let stream = client.open(service, PUBLISHING).detached().no_timeout();
            let (outgoing, mut taken): (_, Streaming<Proto<Taken>>) = stream.await?;
            match taken.message().await? {
                Some(_) => Ok(Self { outgoing, taken, frames: VecDeque::new() }),
                None => Err(Error::unavailable("the owner of the data folder has ended")),
            }
        };
        // Nothing was sent: of an owner that has gone, another may take it.
        opening.await.map_err(|error: Error| match error.code() {
            Code::Unavailable => error.with_reach(Reach::Never),
            _ => error,
        })
    }

    /// Sends and reads until the stream ends or nothing can come any more. What is left in `batch` was not sent.
    async fn run(mut self, batch: &mut Vec<Waiting>, waiting: &mut mpsc::Receiver<Waiting>) {
        let error = loop {
            while !batch.is_empty() && self.frames.len() < FRAMES {
                if let Err(error) = self.send(batch).await {
                    tell(self.frames.drain(..).flatten(), &lost(&error));
                    return;
                }
            }
            tokio::select! {
                taken = self.taken.message() => match taken {
                    Ok(Some(Proto(taken))) => {
                        if let Err(error) = self.answered(taken) {
                            break error;
                        }
                    }
                    Ok(None) => break Error::unavailable("the owner of the data folder has ended"),
                    Err(error) => break error,
                },
                more = waiting.recv_many(batch, TOGETHER), if batch.is_empty() => {
                    if more == 0 {
                        return;
                    }
                    // Others that are about to publish go along.
                    yield_now().await;
                    while batch.len() < TOGETHER && let Ok(next) = waiting.try_recv() {
                        batch.push(next);
                    }
                }
            }
        };
        tell(self.frames.drain(..).flatten(), &lost(&error));
    }

    /// Sends a frame of what is at the beginning of `batch`.
    ///
    /// # Errors
    /// The stream is over, and nothing of it was sent: it is in `batch` as before.
    async fn send(&mut self, batch: &mut Vec<Waiting>) -> Result<()> {
        batch.retain(|next| !next.done.is_closed());
        if batch.is_empty() {
            return Ok(());
        }
        let mut bytes = 0;
        let mut fits = |next: &Waiting| {
            bytes += next.publish.size();
            bytes <= FRAME_BYTES
        };
        let count = batch.iter().map_while(|next| fits(next).then_some(())).count().max(1);
        let messages = batch.iter().take(count).map(|next| next.publish.clone()).collect();
        self.outgoing.send(Proto(Frame { messages })).await?;
        self.frames.push_back(batch.drain(..count).map(|sent| sent.done).collect());
        Ok(())
    }

    fn answered(&mut self, taken: Taken) -> Result<()> {
        let odd = || nonsense("the owner answered what it was not asked");
        let frame = self.frames.pop_front().ok_or_else(odd)?;
        let mut failed = taken.failed.into_iter().peekable();
        for (nth, done) in frame.into_iter().enumerate() {
            let outcome = match failed.next_if(|failed| failed.nth as usize == nth) {
                Some(failed) => Err(failed.error()),
                None => Ok(()),
            };
            let _ = done.send(outcome);
        }
        Ok(())
    }
}

/// What is said of messages that were sent and not answered: whether they were taken is not known.
fn lost(error: &Error) -> Error {
    error.clone().with_reach(Reach::Maybe)
}
