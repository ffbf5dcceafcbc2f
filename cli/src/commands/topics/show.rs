//! `micro topics show`: one topic, its queues and its dead letters.

use micro::Code;
use micro::broker::durable::{Admin, Mark, Topic};
use serde_json::{Value, json};

use super::work::{Which, age, date};
use crate::failure::Failure;
use crate::output::{Format, Output, Tone};
use crate::spelling;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The topic.
    topic: String,
    #[command(flatten)]
    which: Which,
    /// Dead letters that are shown, at most 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    most: u64,
}

pub(super) async fn run(
    options: &Options,
    admin: &Admin,
    output: &mut Output,
) -> Result<(), Failure> {
    let topic = match admin.topic(&options.topic).await {
        Err(error) if error.code() == Code::NotFound => return Err(unknown(options, admin).await),
        topic => topic?,
    };
    let letters = options.which.of(&options.topic);
    let page = admin.dead_letters(&letters, 0, options.most as usize).await?;
    if output.format() == Format::Json {
        let mut shown: Value = json!(topic);
        shown["letters"] = json!(page.letters);
        return Ok(output.json(&shown)?);
    }
    show(&topic, output)?;
    for letter in &page.letters {
        let queue = letter.queue.as_deref().unwrap_or("a subscription without a queue");
        output.toned(
            Tone::Bad,
            &format!(
                "dead letter {} of {queue}, {} ago, after {} attempts: {}",
                letter.sequence,
                age(letter.time),
                letter.attempts,
                letter.reason
            ),
        )?;
    }
    if page.next.is_some() {
        output.message(&format!("there are more dead letters: --most shows up to {}", 1000));
    }
    Ok(())
}

fn show(topic: &Topic, output: &mut Output) -> Result<(), Failure> {
    let mark = |mark: Option<Mark>| match mark {
        Some(mark) => format!("{} at {}", mark.sequence, date(mark.time)),
        None => "none".to_owned(),
    };
    output.line(&format!("topic     {}", topic.name))?;
    output.line(&format!("messages  {}, {} bytes", topic.messages, topic.bytes))?;
    output.line(&format!("first     {}", mark(topic.first)))?;
    output.line(&format!("last      {}", mark(topic.last)))?;
    for queue in &topic.queues {
        output.line(&format!(
            "queue     {}: next {}, {} behind, {} held, {} waiting, {} consumers",
            queue.name, queue.position, queue.lag, queue.held, queue.waiting, queue.consumers
        ))?;
        if let Some(oldest) = &queue.oldest {
            let holder = oldest.holder.as_deref().unwrap_or("no consumer");
            output.line(&format!(
                "          oldest {}, {} ago, {} attempts, with {holder}",
                oldest.sequence,
                age(oldest.time),
                oldest.attempts
            ))?;
        }
    }
    Ok(())
}

async fn unknown(options: &Options, admin: &Admin) -> Failure {
    let topics = admin.topics(None, 1000).await.map(|page| page.topics).unwrap_or_default();
    let names = topics.iter().map(|topic| topic.name.as_str());
    let advice = match spelling::nearest(&options.topic, names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`micro topics` lists those that are there".to_owned(),
    };
    Failure::refused(format!("no topic `{}`; {advice}", options.topic))
}
