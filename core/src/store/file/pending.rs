//! Changes that are about to be made together.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::clock::clock;
use super::logged::{Kind, Logged, Passed, full_key, metadata, split};
use super::tables::{Checking, Tables};
use crate::data::log::{Append, Level as Safe};
use crate::error::{Error, Result};
use crate::store::batch::{Batch, Change, Condition, Level, What, conflict, stale};

/// What is asked for.
pub(super) enum Wanted {
    Changes(Batch),
    /// The table file is made safe, and the log forgets changes before this one.
    Safety(u64),
}

/// What a caller asks for.
pub(super) struct Submission {
    pub(super) wanted: Wanted,
    pub(super) done: oneshot::Sender<Result<Vec<u64>>>,
}

impl Submission {
    /// Bytes of its values.
    pub(super) fn bytes(&self) -> usize {
        match &self.wanted {
            Wanted::Changes(batch) => batch.changes.iter().map(size).sum(),
            Wanted::Safety(_) => 0,
        }
    }
}

fn size(change: &Change) -> usize {
    match &change.what {
        What::Write { value, .. } => value.len() + change.key.len(),
        _ => change.key.len(),
    }
}

/// What a submission gets once all is made.
enum Answer {
    /// For each change the place of its record among those that are appended, none where nothing is changed.
    Made(Vec<Option<usize>>),
    Refused(Error),
    /// Refused for a record that a change before it, made with it, has.
    Beaten(Change, usize),
}

/// What is appended as one.
pub(super) struct Pending {
    logged: Vec<(Logged, Bytes)>,
    answers: Vec<(oneshot::Sender<Result<Vec<u64>>>, Answer)>,
    level: Safe,
    forget: Option<u64>,
}

/// What is known beside the table file.
struct Overlay<'a> {
    checking: &'a Checking,
    now: u64,
    /// Records that are written, or gone, by the changes so far.
    records: HashMap<Vec<u8>, Option<usize>>,
    tokens: HashMap<String, u64>,
}

/// The version of a record.
#[derive(Clone, Copy)]
enum Found {
    Version(u64),
    /// That of a change that is made now.
    Of(usize),
}

impl Overlay<'_> {
    fn found(&self, full: &[u8]) -> Result<Found> {
        match self.records.get(full) {
            Some(Some(nth)) => Ok(Found::Of(*nth)),
            Some(None) => Ok(Found::Version(0)),
            None => self.checking.version(full, self.now).map(Found::Version),
        }
    }

    fn token(&self, lock: &str) -> Result<u64> {
        match self.tokens.get(lock) {
            Some(token) => Ok(*token),
            None => self.checking.token(lock, self.now),
        }
    }
}

impl Pending {
    /// Checks submissions in their order, after ending what is over, at most `over` records of it. Blocks. Also when the next record is over.
    pub(super) fn check(
        tables: &Tables,
        submissions: Vec<Submission>,
        over: usize,
    ) -> (Self, Option<u64>) {
        let mut pending = Self {
            logged: Vec::new(),
            answers: Vec::with_capacity(submissions.len()),
            level: Safe::Written,
            forget: None,
        };
        let next = match pending.gather(tables, submissions, over) {
            Ok(next) => next,
            Err((error, left)) => {
                pending.logged.clear();
                let answers =
                    std::mem::take(&mut pending.answers).into_iter().map(|(done, _)| done);
                let all = answers.chain(left.into_iter().map(|left| left.done));
                pending.answers = all.map(|done| (done, Answer::Refused(error.clone()))).collect();
                Some(clock() + 1000)
            }
        };
        (pending, next)
    }

    fn gather(
        &mut self,
        tables: &Tables,
        submissions: Vec<Submission>,
        over: usize,
    ) -> std::result::Result<Option<u64>, (Error, Vec<Submission>)> {
        let now = clock();
        let begun = (|| Ok((tables.checking()?, tables.over(now, over)?)))();
        let (checking, (ended, mut next)) = match begun {
            Ok(begun) => begun,
            Err(error) => return Err((error, submissions)),
        };
        let (records, tokens) = (HashMap::new(), HashMap::new());
        let mut overlay = Overlay { checking: &checking, now, records, tokens };
        for full in ended {
            if let Some((database, table, key)) = split(&full) {
                let (database, table, key) =
                    (database.to_owned(), table.to_owned(), key.to_owned());
                let kind = Kind::Over as i32;
                let logged = Logged { database, table, key, kind, ..Logged::default() };
                self.logged.push((logged, Bytes::new()));
            }
            overlay.records.insert(full, None);
        }
        let mut submissions = submissions.into_iter();
        while let Some(Submission { wanted, done }) = submissions.next() {
            let batch = match wanted {
                Wanted::Changes(batch) => batch,
                Wanted::Safety(before) => {
                    self.forget = self.forget.max(Some(before));
                    self.answers.push((done, Answer::Made(Vec::new())));
                    continue;
                }
            };
            match self.add(&mut overlay, batch, &mut next) {
                Ok(answer) => self.answers.push((done, answer)),
                Err(error) => {
                    self.answers.push((done, Answer::Made(Vec::new())));
                    return Err((error, submissions.collect()));
                }
            }
        }
        Ok(next)
    }

    fn add(
        &mut self,
        overlay: &mut Overlay<'_>,
        batch: Batch,
        next: &mut Option<u64>,
    ) -> Result<Answer> {
        for fence in &batch.fences {
            let newest = overlay.token(&fence.lock)?;
            if newest > fence.token {
                return Ok(Answer::Refused(stale(fence, newest)));
            }
        }
        for change in &batch.changes {
            let found = overlay.found(&full_key(&change.place, &change.key))?;
            let holds = match (change.condition, found) {
                (Condition::Any, _) => true,
                (Condition::Absent, Found::Version(version)) => version == 0,
                (Condition::Present, Found::Version(version)) => version > 0,
                (Condition::Version(wanted), Found::Version(version)) => wanted == version,
                (Condition::Present, Found::Of(_)) => true,
                // Its version is known to none before it is made.
                (Condition::Absent | Condition::Version(_), Found::Of(_)) => false,
            };
            match found {
                _ if holds => {}
                Found::Version(version) => {
                    return Ok(Answer::Refused(conflict(change, version)));
                }
                Found::Of(nth) => return Ok(Answer::Beaten(change.clone(), nth)),
            }
        }
        if batch.level == Level::Synced {
            self.level = Safe::Synced;
        }
        let passed: Vec<Passed> = batch.fences.iter().map(Passed::from).collect();
        for fence in batch.fences {
            overlay.tokens.insert(fence.lock, fence.token);
        }
        let (begun, mut places) = (self.logged.len(), Vec::with_capacity(batch.changes.len()));
        for change in batch.changes {
            let full = full_key(&change.place, &change.key);
            let place = self.logged.len();
            match change.what {
                What::Nothing => {
                    places.push(None);
                    continue;
                }
                What::Delete => {
                    let is_there = match overlay.records.get(&full) {
                        Some(known) => known.is_some(),
                        None => overlay.checking.has(&full)?,
                    };
                    if !is_there {
                        places.push(None);
                        continue;
                    }
                    let logged = Logged::new(Kind::Deleted, &change.place, &change.key);
                    self.logged.push((logged, Bytes::new()));
                    overlay.records.insert(full, None);
                }
                What::Write { value, metadata: of, ttl } => {
                    let mut logged = Logged::new(Kind::Written, &change.place, &change.key);
                    logged.metadata = metadata(&of)?;
                    if let Some(ttl) = ttl {
                        let life = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                        logged.ends = clock().saturating_add(life);
                        *next = Some(next.map_or(logged.ends, |next| next.min(logged.ends)));
                    }
                    self.logged.push((logged, value));
                    overlay.records.insert(full, Some(place));
                }
            }
            places.push(Some(place));
        }
        if !passed.is_empty() {
            if self.logged.len() == begun {
                self.logged.push((Logged::default(), Bytes::new()));
            }
            self.logged[begun].0.fences = passed;
        }
        Ok(Answer::Made(places))
    }

    /// Where the table file is to be made safe, up to where the log forgets then.
    pub(super) fn forget(&self) -> Option<u64> {
        self.forget
    }

    /// As they are appended.
    pub(super) fn records(&self) -> (Vec<Append>, Safe) {
        let records = self.logged.iter().map(|(logged, value)| logged.append(value.clone()));
        (records.collect(), self.level)
    }

    /// Bytes of the changes, about.
    pub(super) fn bytes(&self) -> usize {
        self.logged.iter().map(|(logged, value)| 100 + logged.key.len() + value.len()).sum()
    }

    /// As they are made once they are appended, the first with this number.
    pub(super) fn changes(&self, base: u64) -> Vec<(u64, Logged, Bytes)> {
        let numbered = (base..).zip(&self.logged);
        numbered.map(|(number, (logged, value))| (number, logged.clone(), value.clone())).collect()
    }

    /// Tells what was made, the first with this number.
    pub(super) fn answer(self, made: Result<u64>) {
        for (done, answer) in self.answers {
            let told = match (&made, answer) {
                (Err(error), _) => Err(error.clone()),
                (Ok(_), Answer::Refused(error)) => Err(error),
                (Ok(base), Answer::Beaten(change, nth)) => {
                    Err(conflict(&change, base + nth as u64))
                }
                (Ok(base), Answer::Made(places)) => Ok(places
                    .into_iter()
                    .map(|place| place.map_or(0, |nth| base + nth as u64))
                    .collect()),
            };
            // Its caller may have given up.
            let _ = done.send(told);
        }
    }
}
