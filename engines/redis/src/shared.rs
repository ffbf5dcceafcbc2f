//! What all of a broker share, and what they ask the server for.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use micro::broker::{Message, Start};
use micro::{Error, Result};
use redis::{Value, cmd};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::entry::{before_millis, before_sequence, members, millis, pack, write};
use crate::link::Link;
use crate::options::Options;
use crate::scripts::Scripts;

/// How long ids are remembered.
const TWICE: Duration = Duration::from_secs(120);
/// Topics whose old messages this process removes.
const TOPICS: usize = 65_536;

/// What all of a broker share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) link: Link,
    pub(crate) scripts: Scripts,
    /// Streams that were used.
    streams: Mutex<HashSet<String>>,
    /// What is done now and then, and the process that does it.
    pub(crate) upkeep: Mutex<Option<(u32, JoinHandle<()>)>>,
    /// Told when something is held back.
    pub(crate) delayed: Notify,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            link: Link::new(options.address.clone(), None),
            options,
            scripts: Scripts::new(),
            streams: Mutex::default(),
            upkeep: Mutex::default(),
            delayed: Notify::new(),
        }
    }

    /// The key of a topic's stream.
    pub(crate) fn stream(&self, topic: &str) -> String {
        format!("{}{topic}", self.options.prefix)
    }

    /// The key of the messages that are held back.
    pub(crate) fn delayed_key(&self) -> String {
        format!("{}micro:delayed", self.options.prefix)
    }

    pub(crate) fn streams(&self) -> Vec<String> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Has old messages of the stream removed, now and then.
    pub(crate) fn use_stream(&self, stream: &str) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if !streams.contains(stream) && streams.len() < TOPICS {
            streams.insert(stream.to_owned());
        }
    }

    pub(crate) async fn publish(&self, message: &Message) -> Result<()> {
        let fields = write(message)?;
        let stream = self.stream(&message.topic);
        self.use_stream(&stream);
        let what = format!("a message to {}", message.topic);
        let due = message.due.map(millis);
        if message.id.is_none() && due.is_none() {
            let mut command = cmd("XADD");
            command.arg(&stream).arg("*").arg(&fields);
            return self.link.ask::<String>(&what, &command).await.map(drop);
        }
        let (window, id_key) = match &message.id {
            Some(id) => {
                let prefix = &self.options.prefix;
                (TWICE.as_millis().to_string(), format!("{prefix}micro:id:{}\n{id}", message.topic))
            }
            None => (String::new(), stream.clone()),
        };
        let Some(due) = due else {
            let mut script = self.scripts.publish.key(&stream);
            script.key(id_key).arg(window).arg(&fields);
            return self.link.run::<u32>(&what, &script).await.map(drop);
        };
        let packed = pack(fastrand::u128(..), &stream, &fields);
        let mut script = self.scripts.delay.key(self.delayed_key());
        script.key(id_key).arg(window).arg(due).arg(packed);
        self.link.run::<u32>(&what, &script).await?;
        self.delayed.notify_one();
        Ok(())
    }

    /// Makes the group of a queue unless it is there.
    pub(crate) async fn make_group(&self, stream: &str, queue: &str, from: &str) -> Result<()> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(stream).arg(queue).arg(from).arg("MKSTREAM");
        match self.link.ask::<()>(&format!("the queue {queue}"), &command).await {
            Err(error) if error.detail().contains("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    /// The id after which a subscription begins.
    pub(crate) async fn begin(&self, stream: &str, start: Start) -> Result<String> {
        match start {
            Start::First => Ok("0-0".into()),
            Start::Sequence(sequence) => Ok(before_sequence(sequence)),
            Start::Time(time) => Ok(before_millis(millis(time))),
            _ => {
                let mut command = cmd("XINFO");
                command.arg("STREAM").arg(stream);
                match self.link.ask::<Vec<Value>>("to be looked at", &command).await {
                    Ok(answer) => {
                        let last = members(answer).remove("last-generated-id");
                        let last = last.and_then(|last| redis::from_redis_value(last).ok());
                        last.ok_or_else(|| Error::unavailable("XINFO STREAM says no last id"))
                    }
                    Err(error) if error.detail().contains("no such key") => Ok("0-0".into()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("link", &self.link).finish_non_exhaustive()
    }
}
