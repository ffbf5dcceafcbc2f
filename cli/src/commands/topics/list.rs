//! `micro topics`: one line a queue.

use micro::broker::durable::{Admin, Topic};

use super::work::{PAGE, age};
use crate::failure::Failure;
use crate::output::{Format, Output, Tone};

pub(super) async fn run(admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let mut topics: Vec<Topic> = Vec::new();
    let mut after = None;
    loop {
        let page = admin.topics(after.as_deref(), PAGE).await?;
        if output.format() == Format::Json {
            page.topics.iter().try_for_each(|topic| output.json(topic))?;
        } else {
            topics.extend(page.topics);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if output.format() == Format::Json {
        return Ok(());
    }
    if topics.is_empty() {
        output.message("no topics");
        return Ok(());
    }
    Ok(output.table(
        ["TOPIC", "MESSAGES", "DEAD", "QUEUE", "LAG", "HELD", "WAITING", "OLDEST", "HELD BY"],
        topics.iter().flat_map(rows),
    )?)
}

/// A topic without queues has a line of its own.
fn rows(topic: &Topic) -> Vec<[(String, Tone); 9]> {
    let dead = if topic.dead_letters > 0 { Tone::Bad } else { Tone::Plain };
    let first = [
        (topic.name.clone(), Tone::Plain),
        (topic.messages.to_string(), Tone::Plain),
        (topic.dead_letters.to_string(), dead),
    ];
    let blank = || (String::new(), Tone::Plain);
    let mut rows: Vec<_> = topic
        .queues
        .iter()
        .map(|queue| {
            let [name, messages, dead] = first.clone();
            let oldest = queue.oldest.as_ref();
            let holder = oldest.and_then(|oldest| oldest.holder.clone()).unwrap_or_default();
            let lag = if queue.lag > 0 && queue.consumers == 0 { Tone::Bad } else { Tone::Plain };
            [
                name,
                messages,
                dead,
                (queue.name.clone(), Tone::Plain),
                (queue.lag.to_string(), lag),
                (queue.held.to_string(), Tone::Plain),
                (queue.waiting.to_string(), Tone::Plain),
                (oldest.map(|oldest| age(oldest.time)).unwrap_or_default(), Tone::Plain),
                (holder, Tone::Plain),
            ]
        })
        .collect();
    if rows.is_empty() {
        let [name, messages, dead] = first;
        rows.push([name, messages, dead, blank(), blank(), blank(), blank(), blank(), blank()]);
    }
    rows
}
