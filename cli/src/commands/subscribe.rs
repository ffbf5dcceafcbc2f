//! `micro subscribe`: messages of a topic, line by line.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use micro::Code;
use micro::broker::{Broker, Delivered, Start, Subscription, Verdict};
use serde_json::{Map, Value, json};

use super::start;
use crate::failure::Failure;
use crate::output::{Format, Output};

/// How long a subscription that ended is left alone before it is made again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Topic of the messages.
    topic: String,
    /// Share the messages with all of this queue; what is printed is handled.
    #[arg(long)]
    queue: Option<String>,
    /// Where to begin: new, first, the number of a message, or a time such as 2026-11-28T12:00:00Z. A queue that is there goes on where it was.
    #[arg(long, value_name = "WHERE", default_value = "new", value_parser = start)]
    from: Start,
    /// End after so many messages.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

pub(crate) async fn run(
    options: &Options,
    broker: &Arc<dyn Broker>,
    output: &mut Output,
) -> Result<(), Failure> {
    tokio::select! {
        outcome = follow(options, broker, output) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn follow(
    options: &Options,
    broker: &Arc<dyn Broker>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut subscription = Subscription::new(&options.topic);
    subscription.queue.clone_from(&options.queue);
    subscription.start = options.from;
    // What is not printed yet is left to others.
    subscription.max_in_flight = 1;
    let mut printed = 0;
    loop {
        let mut deliveries = broker.subscribe(subscription.clone()).await?;
        output.message(&format!(
            "subscribed to {} by {}; Ctrl-C ends",
            options.topic,
            broker.name()
        ));
        loop {
            if options.count.is_some_and(|count| printed >= count) {
                return Ok(());
            }
            match deliveries.next().await {
                Ok(Some(delivery)) => {
                    show(&delivery.delivered, output)?;
                    printed += 1;
                    if let Some(sequence) = delivery.delivered.sequence {
                        subscription.start = Start::Sequence(sequence + 1);
                    }
                    delivery.settle(Verdict::Ack).await?;
                }
                Err(error) if error.code() != Code::Unavailable => return Err(error.into()),
                Ok(None) | Err(_) => break,
            }
        }
        output.message("the broker has gone: subscribing again");
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(delivered: &Delivered, output: &mut Output) -> Result<(), Failure> {
    let message = &delivered.message;
    let text = std::str::from_utf8(&message.body);
    if output.format() == Format::Table {
        let encoded = || STANDARD.encode(&message.body);
        return Ok(output.line(&text.map_or_else(|_| encoded(), str::to_owned))?);
    }
    let body = match (serde_json::from_slice::<Value>(&message.body), text) {
        (Ok(value), _) => value,
        (Err(_), Ok(text)) => json!(text),
        (Err(_), Err(_)) => json!({ "base64": STANDARD.encode(&message.body) }),
    };
    let headers: Map<String, Value> =
        message.headers.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let published = delivered.published.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(output.json(&json!({
        "topic": message.topic,
        "sequence": delivered.sequence,
        "attempt": delivered.attempt,
        "published": published.as_millis() as u64,
        "content_type": message.content_type,
        "headers": headers,
        "body": body,
    }))?)
}
