//! A subscriber in a process of its own that knows how long its messages were on their way.

use std::io::{self, Write as _};

use bench_peers::load::Figures;
use micro::broker::{Subscription, Verdict};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::ours::{STAMP, client, nanoseconds};
use crate::text::text;

/// Takes messages; for each line of standard input it tells the figures of those since the last one.
pub(crate) async fn watch(url: &str) -> Result<(), String> {
    let client = client(url)?;
    let mut subscription = Subscription::new("topic-0");
    subscription.queue = Some("watch".to_owned());
    let mut messages = client.subscribe(subscription).await.map_err(text)?;
    writeln!(io::stdout(), "watching").map_err(text)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut times = Vec::new();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(_) = line.map_err(text)? else { return Ok(()) };
                let figures = Figures::of(std::mem::take(&mut times), 1.0);
                let line = serde_json::to_string(&figures).map_err(text)?;
                writeln!(io::stdout(), "{line}").map_err(text)?;
            }
            delivery = messages.next() => {
                let now = nanoseconds();
                let body = &delivery.delivered.message.body;
                let stamp = body.first_chunk::<STAMP>().ok_or("a message without a time")?;
                times.push(now.saturating_sub(u64::from_be_bytes(*stamp)));
                delivery.settle(Verdict::Ack).await.map_err(text)?;
            }
        }
    }
}
