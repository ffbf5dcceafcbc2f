//! What the owner of a data folder does when it is asked about it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::ask::{Answer, Ask};
use super::hidden::record;
use super::types::{
    Batch, DeadLetter, DeadLetters, Letters, Mark, Oldest, QueueState, Topic, Topics,
};
use crate::broker::Start;
use crate::broker::durable::command::{Command, INNER, Name, Standing, ask};
use crate::broker::durable::engine::Engine;
use crate::broker::durable::letters::{Death, death, raise};
use crate::broker::durable::progress::Progress;
use crate::broker::stored::{read, write};
use crate::data::log::{Append, Hidden, Level, Limit, Log, Record};
use crate::error::{Code, Error, Result};

/// What a page has at most.
const PAGE: usize = 1000;
/// Queues of a topic that are told.
const QUEUES: usize = 1000;
/// Letters that are dealt with at once.
const TOGETHER: Limit = Limit { records: 500, bytes: 8 << 20 };
const ONE: Limit = Limit { records: 1, bytes: usize::MAX };

impl Engine {
    pub(in crate::broker::durable) async fn answer(&self, ask: Ask) -> Result<Answer> {
        Ok(match ask {
            Ask::Topics { after, most } => Answer::Topics(self.topics(after, page(most)?).await?),
            Ask::Topic { name } => Answer::Topic(self.topic(name).await?),
            Ask::DeadLetters { letters, from, most } => {
                Answer::DeadLetters(self.dead_letters(&letters, from, page(most)?).await?)
            }
            Ask::Replay { topic, queue, start } => {
                self.reset(topic, queue, Some(start.into())).await?;
                Answer::Done
            }
            Ask::DropQueue { topic, queue } => {
                self.reset(topic, queue, None).await?;
                Answer::Done
            }
            Ask::Retry { letters, from } => Answer::Batch(self.take(&letters, from, true).await?),
            Ask::DropLetters { letters, from } => {
                Answer::Batch(self.take(&letters, from, false).await?)
            }
            Ask::DropMessages { topic, last } => {
                Answer::Batch(Batch::new(self.drop_messages(&topic, last).await?, None))
            }
        })
    }

    async fn topics(&self, after: Option<String>, most: usize) -> Result<Topics> {
        let after = after.as_deref().map(str::as_bytes);
        let mut names = self.log.topics(after, most + 1, |name| !name.starts_with(INNER));
        let has_more = names.len() > most;
        names.truncate(most);
        let topics = self.described(names).await?;
        let next = topics.last().filter(|_| has_more).map(|last| last.name.clone());
        Ok(Topics { topics, next })
    }

    async fn topic(&self, name: String) -> Result<Topic> {
        self.check(&name)?;
        let described = self.described(vec![name.into()]).await?;
        described.into_iter().next().ok_or_else(|| Error::internal("a topic is lost"))
    }

    /// Refuses a topic that never had a message.
    fn check(&self, name: &str) -> Result<()> {
        match self.log.topic_end(name.as_bytes()) {
            0 => Err(Error::not_found(format!("there is no topic {name:?} with messages"))),
            _ => Ok(()),
        }
    }

    async fn described(&self, names: Vec<Bytes>) -> Result<Vec<Topic>> {
        let mut queues = self.queues_of(&names).await?;
        let mut wanted = Vec::new();
        for name in &names {
            let from = queues.get(name).into_iter().flatten().map(|(_, standing)| standing.next);
            wanted.push((name.clone(), from.collect::<Vec<_>>()));
        }
        wanted.extend(names.iter().map(|name| ([name, &b".dead"[..]].concat().into(), Vec::new())));
        let mut tallies = self.log.tally(wanted).await?;
        let dead = tallies.split_off(names.len());
        let mut topics = Vec::new();
        for ((name, tally), dead) in names.into_iter().zip(tallies).zip(dead) {
            let (first, last) = match tally.numbers {
                Some((first, last)) => {
                    (self.mark(&name, first).await?, self.mark(&name, last).await?)
                }
                None => (None, None),
            };
            let mut told = Vec::new();
            let standings = queues.remove(&name).unwrap_or_default();
            for ((queue, standing), behind) in standings.into_iter().zip(tally.from) {
                told.push(self.queue_state(&name, queue, standing, behind).await?);
            }
            topics.push(Topic {
                name: String::from_utf8_lossy(&name).into_owned(),
                messages: tally.records,
                bytes: tally.bytes,
                first,
                last,
                dead_letters: dead.records,
                queues: told,
            });
        }
        Ok(topics)
    }

    /// Where the queues of these topics stand.
    async fn queues_of(
        &self,
        topics: &[Bytes],
    ) -> Result<BTreeMap<Bytes, Vec<(String, Standing)>>> {
        let topics: BTreeSet<&[u8]> = topics.iter().map(|topic| &topic[..]).collect();
        let is_wanted = |name: &Name| topics.contains(name.topic.as_bytes());
        let mut names: BTreeSet<Name> = self.active().into_iter().filter(is_wanted).collect();
        let written = |topic: &[u8]| Name::of_progress(topic).is_some_and(|name| is_wanted(&name));
        let written = self.log.topics(None, usize::MAX, written);
        names.extend(written.iter().filter_map(|topic| Name::of_progress(topic)));
        let mut queues: BTreeMap<Bytes, Vec<_>> = BTreeMap::new();
        for name in names {
            let told = queues.entry(Bytes::copy_from_slice(name.topic.as_bytes())).or_default();
            if told.len() < QUEUES
                && let Some(standing) = self.standing(&name).await?
                && let Some(queue) = name.queue
            {
                told.push((queue, standing));
            }
        }
        Ok(queues)
    }

    /// Where a queue stands, if there is such a one.
    async fn standing(&self, name: &Name) -> Result<Option<Standing>> {
        if let Some(queue) = self.running(name) {
            match ask(&queue, Command::Report).await {
                Ok(standing) => return Ok(Some(standing)),
                // It ended at this moment, and has written down where it stands.
                Err(error) if error.code() == Code::Unavailable && queue.is_closed() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(topic) = name.progress() else { return Ok(None) };
        let Some(record) = last(&self.log, &topic).await? else { return Ok(None) };
        if Progress::is_dropped(&record.body) {
            return Ok(None);
        }
        let progress = Progress::read(&record.body)?;
        Ok(Some(Standing {
            next: progress.next(),
            pending: progress.pending() as u64,
            oldest: progress.oldest().map(|(sequence, attempts, _)| (sequence, attempts, None)),
            ..Standing::default()
        }))
    }

    async fn queue_state(
        &self,
        topic: &[u8],
        name: String,
        standing: Standing,
        behind: u64,
    ) -> Result<QueueState> {
        let (from, attempts, holder) = standing.oldest.unwrap_or((standing.next, 0, None));
        let oldest = match standing.pending + behind {
            0 => None,
            _ => self.log.read(topic, from, ONE).await?.into_iter().next(),
        };
        let oldest = oldest.map(|record| Oldest {
            sequence: record.sequence,
            time: record.time,
            attempts: if record.sequence == from { attempts } else { 0 },
            holder: holder.filter(|_| record.sequence == from),
        });
        Ok(QueueState {
            name,
            position: standing.next,
            lag: standing.pending + behind,
            held: standing.held,
            waiting: standing.waiting,
            consumers: standing.consumers,
            oldest,
        })
    }

    async fn mark(&self, topic: &[u8], sequence: u64) -> Result<Option<Mark>> {
        let records = self.log.read(topic, sequence, ONE).await?;
        Ok(records.first().map(|record| Mark { sequence: record.sequence, time: record.time }))
    }

    /// Has a queue go on elsewhere, or forgets it.
    async fn reset(&self, topic: String, queue: String, start: Option<Start>) -> Result<()> {
        let missing = || Error::not_found(format!("the topic {topic:?} has no queue {queue:?}"));
        let name = Name { topic: topic.clone(), queue: Some(queue.clone()) };
        if self.standing(&name).await?.is_none() {
            return Err(missing());
        }
        loop {
            let queue = self.queue(&name);
            match ask(&queue, |done| Command::Reset { start, done }).await {
                // Its last consumer left at this moment.
                Err(error) if error.code() == Code::Unavailable && queue.is_closed() => {}
                done => return done,
            }
        }
    }

    async fn dead_letters(&self, letters: &Letters, from: u64, most: usize) -> Result<DeadLetters> {
        let place = letters.place();
        let (mut found, mut from) = (Vec::new(), letters.from(from));
        loop {
            let records = self.log.read(place.as_bytes(), from, TOGETHER).await?;
            let Some(end) = records.last().map(|last| last.sequence) else {
                return Ok(DeadLetters { letters: found, next: None });
            };
            for record in records {
                let sequence = record.sequence;
                if found.len() == most {
                    return Ok(DeadLetters { letters: found, next: Some(sequence) });
                }
                let Some((message, death)) = letter(&place, record.body, letters, sequence) else {
                    continue;
                };
                found.push(DeadLetter {
                    sequence,
                    time: record.time,
                    queue: death.queue,
                    attempts: death.attempts,
                    reason: death.reason,
                    content_type: message.content_type,
                    bytes: message.body.len() as u64,
                });
            }
            if letters.ends_at(end) {
                return Ok(DeadLetters { letters: found, next: None });
            }
            from = end + 1;
        }
    }

    /// Drops some dead letters, and publishes them again where that is wanted.
    async fn take(&self, letters: &Letters, from: u64, raised: bool) -> Result<Batch> {
        let place = letters.place();
        let _one = self.dropping.lock().await;
        let dropped = self.log.hidden(place.as_bytes());
        let records = self.log.read(place.as_bytes(), letters.from(from), TOGETHER).await?;
        let Some(end) = records.last().map(|last| last.sequence) else {
            return Ok(Batch::new(0, None));
        };
        let (mut again, mut numbers) = (Vec::new(), Vec::new());
        for record in records {
            let sequence = record.sequence;
            let Some((message, death)) = letter(&place, record.body, letters, sequence) else {
                continue;
            };
            numbers.push(sequence);
            if raised {
                let message = raise(message, &death);
                let topic = Bytes::copy_from_slice(message.topic.as_bytes());
                again.push(Append { topic, body: write(&message) });
            }
        }
        let next = (!letters.ends_at(end)).then_some(end + 1);
        let done = numbers.len() as u64;
        if done == 0 {
            return Ok(Batch::new(0, next));
        }
        let mut dropped = Hidden::clone(&dropped);
        dropped.numbers.extend(numbers);
        self.settle_floor(place.as_bytes(), &mut dropped).await?;
        again.push(record(place.as_bytes(), &dropped)?);
        self.log.append(again, Level::Synced).await?;
        self.hide(&place, dropped).await;
        Ok(Batch::new(done, next))
    }

    /// Notes the first messages of a topic by one number, where all of them are dropped.
    async fn settle_floor(&self, topic: &[u8], dropped: &mut Hidden) -> Result<()> {
        let mut from = dropped.before;
        loop {
            let records = self.log.read(topic, from, TOGETHER).await?;
            let kept = records.iter().find(|record| !dropped.has(record.sequence));
            match (kept, records.last()) {
                (Some(kept), _) => {
                    dropped.before = kept.sequence;
                    break;
                }
                (None, Some(last)) => from = last.sequence + 1,
                (None, None) => {
                    dropped.before = self.log.topic_end(topic).max(dropped.before);
                    break;
                }
            }
        }
        dropped.numbers = dropped.numbers.split_off(&dropped.before);
        Ok(())
    }

    async fn drop_messages(&self, topic: &str, last: u64) -> Result<u64> {
        self.check(topic)?;
        let _one = self.dropping.lock().await;
        let name = Bytes::copy_from_slice(topic.as_bytes());
        let before = last.saturating_add(1).min(self.log.topic_end(&name));
        let wanted = vec![(name.clone(), vec![before])];
        let tally = self.log.tally(wanted).await?;
        let count = tally.first().map_or(0, |tally| tally.records - tally.from[0]);
        if count == 0 {
            return Ok(0);
        }
        let dropped = self.log.hidden(&name);
        let mut dropped = Hidden::clone(&dropped);
        dropped.before = dropped.before.max(before);
        dropped.numbers = dropped.numbers.split_off(&dropped.before);
        self.log.append(vec![record(&name, &dropped)?], Level::Synced).await?;
        self.hide(topic, dropped).await;
        Ok(count)
    }

    /// Hides messages, also from queues that have read them already.
    async fn hide(&self, topic: &str, dropped: Hidden) {
        self.log.hide(topic.as_bytes(), dropped);
        for name in self.active().into_iter().filter(|name| name.topic == topic) {
            if let Some(queue) = self.running(&name) {
                // One that ends reads nothing any more.
                let _ = queue.send(Command::Reread).await;
            }
        }
    }
}

/// A letter that is one of those that are wanted, and why it is one.
fn letter(
    place: &str,
    body: Bytes,
    letters: &Letters,
    sequence: u64,
) -> Option<(crate::broker::Message, Death)> {
    let message = read(place, body).ok()?;
    let death = death(&message).filter(|death| death.topic == letters.topic())?;
    letters.has(sequence, death.queue.as_deref()).then_some((message, death))
}

async fn last(log: &Log, topic: &[u8]) -> Result<Option<Record>> {
    let Some(last) = log.topic_end(topic).checked_sub(1) else { return Ok(None) };
    Ok(log.read(topic, last, ONE).await?.into_iter().next())
}

fn page(most: usize) -> Result<usize> {
    match most {
        1..=PAGE => Ok(most),
        _ => Err(Error::invalid_argument(format!("a page has 1 to {PAGE} entries, not {most}"))),
    }
}
