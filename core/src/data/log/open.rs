//! How a log is opened, whatever its last owner left.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, oneshot};

use super::Log;
use super::failure::{failure, unreadable};
use super::format::{BATCH, HEAD};
use super::inbox::Inbox;
use super::index::{Extent, Index};
use super::scan::Unreadable;
use super::segment::{self, Segment};
use super::shared::Shared;
use super::state::{Full, Open, State};
use super::terms::Settings;
use super::writer::Writer;
use crate::data::disk::Disk;
use crate::error::Result;

/// Numbers that are left out after a crash: more than one segment has, so more than were written without a sync.
const FORGOTTEN: u64 = 1 << 18;
/// What was found when a log was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Records there are.
    pub(crate) records: u64,
    /// Bytes at the end that were being written when the last owner ended. None of them was acknowledged as synced.
    pub(crate) torn_bytes: u64,
    /// The last owner closed it.
    pub(crate) was_closed: bool,
}

impl Log {
    /// Opens the log in a folder that nothing else writes to, or begins one. `guard`, such as a lock on the folder, is dropped once
    /// nothing more is written. Blocks.
    ///
    /// # Errors
    ///
    /// `DATA_LOSS` where what was acknowledged is damaged: nothing is changed then. `FAILED_PRECONDITION` where a newer version
    /// wrote it. Those of the disk.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        settings: Settings,
        guard: impl Send + 'static,
    ) -> Result<(Self, Recovery)> {
        let (mut state, mut recovery) = (State::default(), Recovery::default());
        let names = disk.names().map_err(|error| failure(&*disk, "list", "", &error))?;
        let mut bases: Vec<_> =
            names.iter().filter_map(|name| segment::base(name, ".log")).collect();
        bases.sort_unstable();
        let mut verified_from = bases.len();
        let mut bytes = 0;
        for (nth, base) in bases.iter().enumerate().rev() {
            let blob = disk.open(&segment::name(*base)).and_then(|blob| blob.len());
            bytes +=
                blob.map_err(|error| failure(&*disk, "open", &segment::name(*base), &error))?;
            if bytes > settings.verified_bytes && nth + 1 < bases.len() {
                break;
            }
            verified_from = nth;
        }
        let mut last = None;
        for (nth, base) in bases.iter().copied().enumerate() {
            let is_last = nth + 1 == bases.len();
            let unreadable = |error| unreadable(&*disk, base, error);
            let is_believed = nth < verified_from;
            let believed = if is_believed { Segment::open(&*disk, base) } else { Ok(None) };
            let (segment, extent, index, scanned) = match believed.map_err(Unreadable::Io) {
                Ok(Some((segment, extent, index))) => (segment, extent, index, None),
                Err(error) => return Err(unreadable(error)),
                Ok(None) => match Segment::scan(&*disk, base) {
                    Err(Unreadable::Unborn) if is_last => {
                        discard(&*disk, base)?;
                        state.next = state.next.max(base);
                        break;
                    }
                    // The numbers of records that it lost begin with its own: the next one has to begin elsewhere.
                    Ok((_, scanned, _))
                        if is_last && scanned.next == base && !scanned.is_closed =>
                    {
                        discard(&*disk, base)?;
                        recovery.torn_bytes = scanned.torn;
                        state.next = state.next.max(base);
                        break;
                    }
                    Err(error) => return Err(unreadable(error)),
                    Ok((segment, scanned, index)) => {
                        let (length, next, time) = (scanned.end, scanned.next, scanned.time);
                        (segment, Extent { base, length, next, time }, index, Some(scanned))
                    }
                },
            };
            if base < state.next {
                return Err(unreadable(Unreadable::Damaged(0)));
            }
            if let Some(scanned) = &scanned
                && scanned.torn > 0
                && !is_last
            {
                return Err(unreadable(Unreadable::Damaged(scanned.end)));
            }
            let previous = state.full.keys().next_back().copied();
            state.learn(base, previous, &index);
            state.next = extent.next;
            recovery.records += index.len() as u64;
            match scanned {
                Some(scanned) if is_last => last = Some((segment, scanned, index)),
                _ => {
                    state.full.insert(base, Full { segment, extent });
                }
            }
        }
        let time = state.full.values().next_back().map_or(0, |full| full.extent.time);
        let (segment, end, index, time) = match last {
            Some((segment, scanned, index)) => {
                let name = segment::name(segment.head.base);
                recovery.torn_bytes = scanned.torn;
                recovery.was_closed = scanned.is_closed;
                // A log that is open does not end as one that was closed.
                let end = scanned.end - if scanned.is_closed { BATCH as u64 } else { 0 };
                // What is left may not have been synced by its writer.
                let synced = segment.blob.set_len(end).and_then(|()| segment.blob.sync());
                synced.map_err(|error| failure(&*disk, "sync", &name, &error))?;
                if !scanned.is_closed {
                    state.next += FORGOTTEN;
                }
                (segment, end, index, scanned.time.max(time))
            }
            None => {
                state.next = if state.next == 0 { 1 } else { state.next + FORGOTTEN };
                let segment = Segment::create(&*disk, state.next).map_err(|error| {
                    failure(&*disk, "create", &segment::name(state.next), &error)
                })?;
                recovery.was_closed = bases.is_empty();
                (segment, HEAD as u64, Index::default(), time)
            }
        };
        state.open = Some(Open { segment: segment.clone(), index, end, time });
        let next = state.next;
        let shared = Arc::new(Shared {
            inbox: Inbox::default(),
            state: Mutex::new(state),
            indexes: Mutex::default(),
        });
        let writer = Writer {
            disk: disk.clone(),
            shared: shared.clone(),
            settings,
            segment,
            end,
            synced: end,
            next,
            time,
            is_in_doubt: false,
        };
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("micro-log".into())
            .spawn(move || {
                let ended = writer.run();
                drop(guard);
                let _ = ending.send(ended);
            })
            .map_err(|error| failure(&*disk, "write", "", &error))?;
        let room = Arc::new(Semaphore::new(settings.waiting_bytes));
        Ok((Self { shared, disk, settings, room, ended: Mutex::new(Some(ended)) }, recovery))
    }
}

/// Removes a segment that has no records.
fn discard(disk: &dyn Disk, base: u64) -> Result<()> {
    let name = segment::name(base);
    let removed = disk.remove(&name).and_then(|()| disk.sync());
    removed.map_err(|error| failure(disk, "remove", &name, &error))
}
