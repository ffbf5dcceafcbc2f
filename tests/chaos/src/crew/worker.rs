//! A process that publishes, or consumes, and says so. Whichever comes first owns the folder.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::broker::{Broker as _, Durable, Message, Start, Subscription, Verdict};
use tokio::time::sleep;

use crate::Outcome;

/// Topic of the messages.
pub(crate) const TOPIC: &str = "orders";
/// Keys of a publisher: its messages have one after the other.
pub(crate) const KEYS: u64 = 4;
/// Every so many messages there is one that no consumer can handle.
pub(crate) const POISON: u64 = 20;
/// Why, as its dead letter says.
pub(crate) const REASON: &str = "it is poison";
/// How often a message is delivered.
pub(crate) const MAX_ATTEMPTS: u32 = 100;
/// Time between two messages of a publisher.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What it calls itself in its messages.
    #[arg(long)]
    name: String,
    /// The data folder.
    #[arg(long)]
    folder: PathBuf,
    /// Publishes, instead of consuming.
    #[arg(long)]
    publishes: bool,
}

/// Works until it is killed.
pub(crate) fn run(options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let broker = Durable::new(&options.folder);
        say("ready")?;
        match options.publishes {
            true => publish(&broker, &options.name).await,
            false => consume(&broker).await,
        }
    })
}

async fn publish(broker: &Durable, name: &str) -> Outcome {
    for number in 0_u64.. {
        let mut message = Message::new(TOPIC, format!("{name} {number}"));
        message.key = Some(format!("{name}-{}", number % KEYS));
        match broker.publish(message).await {
            Ok(()) => say(&format!("published {name} {number}"))?,
            Err(_) => say(&format!("failed {name} {number}"))?,
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn consume(broker: &Durable) -> Outcome {
    let mut subscription = Subscription::new(TOPIC);
    subscription.queue = Some("billing".into());
    subscription.start = Start::First;
    subscription.max_attempts = MAX_ATTEMPTS;
    subscription.lease = Duration::from_secs(1);
    loop {
        let Ok(mut deliveries) = broker.subscribe(subscription.clone()).await else {
            sleep(PAUSE).await;
            continue;
        };
        while let Ok(Some(delivery)) = deliveries.next().await {
            let text = String::from_utf8_lossy(&delivery.delivered.message.body).into_owned();
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            say(&format!("got {text} {} {now}", delivery.delivered.attempt))?;
            let verdict = match is_poison(&text) {
                true => Verdict::Reject(REASON.into()),
                false => Verdict::Ack,
            };
            // Where the owner has gone, it is delivered again.
            let _ = delivery.settle(verdict).await;
        }
    }
}

/// Whether no consumer can handle a message.
pub(crate) fn is_poison(text: &str) -> bool {
    let number = text.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|number| number % POISON == POISON - 1)
}

fn say(line: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
