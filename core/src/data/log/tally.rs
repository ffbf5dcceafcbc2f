//! What topics there are, and how much of each.

use bytes::Bytes;

use super::index::Index;
use super::segment::Segment;
use super::{Log, blocking, load_index, unreadable};
use crate::error::Result;

/// How much there is of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records that are shown.
    pub(crate) records: u64,
    /// Bytes that they have on the disk, with what is around each.
    pub(crate) bytes: u64,
    /// Numbers of the first and the last.
    pub(crate) numbers: Option<(u64, u64)>,
    /// Of the numbers that were asked for: how many records have that number or a higher one.
    pub(crate) from: Vec<u64>,
}

impl Log {
    /// Names of topics that are wanted and come behind `after`, in order, but at most `most`.
    pub(crate) fn topics(
        &self,
        after: Option<&[u8]>,
        most: usize,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Vec<Bytes> {
        let mut names: Vec<_> = {
            let state = self.shared.state();
            let names = state.topic_names().filter(|name| is_wanted(name));
            names.filter(|name| after.is_none_or(|after| after < name.as_ref())).cloned().collect()
        };
        names.sort_unstable();
        names.truncate(most);
        names
    }

    /// How much there is of each of these topics, and how much from some numbers on.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the disk fails.
    pub(crate) async fn tally(&self, wanted: Vec<(Bytes, Vec<u64>)>) -> Result<Vec<Tally>> {
        let (shared, disk) = (self.shared.clone(), self.disk.clone());
        let work = move || {
            let mut tallies: Vec<Tally> = wanted
                .iter()
                .map(|(_, from)| Tally { from: vec![0; from.len()], ..Tally::default() })
                .collect();
            // All at once, so that nothing is counted twice or not at all; copied, so that nothing waits for this to be counted.
            let (full, open, hidden) = {
                let state = shared.state();
                let full = state.full.values().map(|full| (full.segment.clone(), full.extent));
                let open = state.open.as_ref();
                let open = open.map(|open| (open.segment.clone(), open.index.clone(), open.end));
                (full.collect::<Vec<_>>(), open, state.hidden.clone())
            };
            let mut add = |segment: &Segment, index: &Index, end: u64| {
                let base = segment.head.base;
                let mut offsets = None;
                for ((topic, from), tally) in wanted.iter().zip(&mut tallies) {
                    let hidden = hidden.get(topic);
                    let positions = index.find(topic, 0, usize::MAX);
                    if positions.is_empty() {
                        continue;
                    }
                    let offsets = offsets.get_or_insert_with(|| index.offsets());
                    for position in positions {
                        let number = base + u64::from(position.number);
                        if hidden.is_some_and(|hidden| hidden.has(number)) {
                            continue;
                        }
                        let behind = offsets.partition_point(|offset| *offset <= position.offset);
                        let next = offsets.get(behind).map_or(end, |next| u64::from(*next));
                        tally.records += 1;
                        tally.bytes += next.saturating_sub(u64::from(position.offset));
                        tally.numbers.get_or_insert((number, 0)).1 = number;
                        for (from, count) in from.iter().zip(&mut tally.from) {
                            *count += u64::from(number >= *from);
                        }
                    }
                }
            };
            for (segment, extent) in full {
                let index = load_index(&*disk, &shared, &segment, extent)
                    .map_err(|error| unreadable(&*disk, extent.base, error))?;
                add(&segment, &index, extent.length);
            }
            if let Some((segment, index, end)) = open {
                add(&segment, &index, end);
            }
            Ok(tallies)
        };
        blocking(work).await?
    }
}
