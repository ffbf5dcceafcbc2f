//! Messages that were dropped, as that is written down.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use crate::broker::durable::command::{hidden, of_hidden};
use crate::data::log::{Append, Hidden, Log};
use crate::error::{Code, Error, Result};

/// Messages of a topic that are dropped one by one. Those before the first that is kept do not count.
const MOST: usize = 65_536;

#[derive(Clone, PartialEq, prost::Message)]
struct Written {
    #[prost(uint64, tag = "1")]
    before: u64,
    /// Each less the one before it, the first less nothing.
    #[prost(uint64, repeated, tag = "2")]
    numbers: Vec<u64>,
}

/// The record that says what is dropped of a topic.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` for too many.
pub(super) fn record(topic: &[u8], dropped: &Hidden) -> Result<Append> {
    if dropped.numbers.len() > MOST {
        return Err(Error::new(
            Code::ResourceExhausted,
            format!(
                "at most {MOST} messages of a topic are dropped one by one: drop all up to a number first"
            ),
        ));
    }
    let mut last = 0;
    let numbers =
        dropped.numbers.iter().map(|number| number - std::mem::replace(&mut last, *number));
    let written = Written { before: dropped.before, numbers: numbers.collect() };
    Ok(Append { topic: hidden(topic), body: [written.encode_to_vec().into(), Bytes::new()] })
}

/// Hides what was dropped when the log was open before. Blocks.
///
/// # Errors
/// Those of the log.
pub(in crate::broker::durable) fn restore(log: &Log) -> Result<()> {
    for name in log.topics(None, usize::MAX, |name| of_hidden(name).is_some()) {
        let Some(topic) = of_hidden(&name) else { continue };
        let Some(record) = log.last(&name)? else { continue };
        let lost = |_| Error::new(Code::DataLoss, "what was dropped of a topic cannot be read");
        let written = Written::decode(record.body).map_err(lost)?;
        let mut number = 0;
        let mut numbers = BTreeSet::new();
        for step in written.numbers {
            number += step;
            numbers.insert(number);
        }
        log.hide(topic, Hidden { before: written.before, numbers });
    }
    Ok(())
}
