//! What commands about topics have in common.

use std::time::{SystemTime, UNIX_EPOCH};

use micro::broker::durable::{Admin, Batch, Letters};

use crate::failure::Failure;
use crate::progress::Progress;

/// Topics or letters that are asked for at once.
pub(super) const PAGE: usize = 100;

/// Which dead letters.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Only those that this queue gave up.
    #[arg(long)]
    queue: Option<String>,
    /// Only the one with this number.
    #[arg(long, value_name = "NUMBER")]
    sequence: Option<u64>,
    /// The topic that has them; the one with `.dead` behind its name unless given.
    #[arg(long, value_name = "TOPIC")]
    dead_letters: Option<String>,
}

impl Which {
    /// Those of a topic.
    pub(super) fn of(&self, topic: &str) -> Letters {
        let mut letters = Letters::of(topic);
        if let Some(queue) = &self.queue {
            letters = letters.queue(queue);
        }
        if let Some(sequence) = self.sequence {
            letters = letters.sequence(sequence);
        }
        if let Some(place) = &self.dead_letters {
            letters = letters.within(place);
        }
        letters
    }
}

/// Does work in parts until it is done, and says how far it has come; how many messages that were. `place` has them.
pub(super) async fn all(
    what: &'static str,
    admin: &Admin,
    place: &str,
    part: impl AsyncFn(u64) -> micro::Result<Batch>,
) -> Result<u64, Failure> {
    let total = match admin.topic(place).await {
        Err(error) if error.code() == micro::Code::NotFound => return Ok(0),
        topic => topic?.messages,
    };
    let mut progress = Progress::new(what);
    let (mut done, mut from) = (0, Some(0));
    while let Some(next) = from {
        let batch = part(next).await?;
        done += batch.done;
        from = batch.next;
        progress.tell(done, total);
    }
    Ok(done)
}

/// How long ago that was, in milliseconds since 1970.
pub(super) fn age(time: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    match now.saturating_sub(time) / 1000 {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A time in milliseconds since 1970, as a date.
pub(super) fn date(time: u64) -> String {
    let seconds = (time / 1000).cast_signed();
    prost_reflect::prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

/// `s` unless there is one.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
