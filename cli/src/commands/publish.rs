//! `micro publish`: a message to whoever subscribes.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use micro::broker::{Broker, Message};

use super::{duration, header};
use crate::failure::Failure;
use crate::output::Output;

/// Bytes of a message that is read from stdin.
const MAX_MESSAGE: u64 = 16 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Topic of the message.
    topic: String,
    /// The message. `-` reads it from stdin, whatever bytes it has.
    message: String,
    /// How it is written; application/json unless it is none, then text/plain.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Header of the message, several if repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    metadata: Vec<(String, String)>,
    /// Messages of one key are delivered one after the other.
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Deliver it after this time, for example 30s.
    #[arg(long, value_parser = duration)]
    delay: Option<Duration>,
    /// Deliver it within this time, or not at all.
    #[arg(long, value_parser = duration)]
    expires: Option<Duration>,
}

pub(crate) async fn run(
    options: Options,
    broker: &Arc<dyn Broker>,
    output: &mut Output,
) -> Result<(), Failure> {
    let body = match options.message.as_str() {
        "-" => {
            let mut body = Vec::new();
            std::io::stdin().take(MAX_MESSAGE + 1).read_to_end(&mut body)?;
            if body.len() as u64 > MAX_MESSAGE {
                return Err(Failure::usage("a message has at most 16 MiB"));
            }
            body
        }
        text => text.as_bytes().to_vec(),
    };
    let guessed = || match serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
        Ok(_) => "application/json",
        Err(_) => "text/plain",
    };
    let content_type = options.content_type.unwrap_or_else(|| guessed().to_owned());
    let mut message = Message::new(options.topic, body);
    message.content_type = Some(content_type);
    for (name, value) in &options.metadata {
        message.headers.append(name, value)?;
    }
    message.headers.insert("micro-topic", &message.topic)?;
    message.key = options.ordering_key;
    let after = |time| SystemTime::now().checked_add(time);
    message.due = options.delay.and_then(after);
    message.expires = options.expires.and_then(after);
    let topic = message.topic.clone();
    broker.publish(message).await?;
    output.message(&format!("published to {topic} by {}", broker.name()));
    Ok(())
}
