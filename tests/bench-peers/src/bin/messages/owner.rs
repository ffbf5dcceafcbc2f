//! The process that owns a data folder and serves it to the others.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use micro::broker::{Broker as _, Durable, Message};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;

use crate::text::text;

/// What is published at once where the folder is filled.
const AT_ONCE: usize = 512;

/// Owns it, and says so. For each line of standard input, `messages size`, it publishes that many of that size.
pub(crate) async fn own(url: &str) -> Result<(), String> {
    let broker = Durable::connect(url).map_err(text)?;
    broker.own().await.map_err(text)?;
    writeln!(io::stdout(), "owner").map_err(text)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(text)? {
        let (count, size) = line.split_once(' ').ok_or("messages, a space and their size")?;
        let count: usize = count.parse().map_err(text)?;
        fill(&broker, count, size.parse().map_err(text)?).await?;
        writeln!(io::stdout(), "{count}").map_err(text)?;
    }
    broker.close().await.map_err(text)
}

async fn fill(broker: &Durable, count: usize, size: usize) -> Result<(), String> {
    let (broker, body) = (Arc::new(broker.clone()), Bytes::from(vec![b'x'; size]));
    let mut tasks = JoinSet::new();
    for part in 0..AT_ONCE {
        let (broker, body) = (broker.clone(), body.clone());
        let many = count / AT_ONCE + usize::from(part < count % AT_ONCE);
        tasks.spawn(async move {
            for _ in 0..many {
                broker.publish(Message::new("stored", body.clone())).await.map_err(text)?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(text)??;
    }
    Ok(())
}
